// scripts/bench inner: the inner parts one by one, by Google Benchmark. Its own options work, too:
// --benchmark_filter=REGEX and the rest of --help.
#include <cstdio>
#include <string_view>
#include <vector>

#include <benchmark/benchmark.h>

#include "crypto/hash.h"
#include "crypto/identity.h"
#include "crypto/x25519.h"
#include "fabric/records.h"
#include "wire/ip.h"

namespace sluice::bench {
namespace {

void replay_commit_in_order(benchmark::State& state) {
  fabric::ReplayWindow window;
  uint64_t sequence = 0;
  bool highest = false;
  for (auto _ : state) benchmark::DoNotOptimize(window.commit(sequence++, highest));
}
BENCHMARK(replay_commit_in_order);

// Neighbours in pairs change places, as over two paths.
void replay_commit_swapped(benchmark::State& state) {
  fabric::ReplayWindow window;
  uint64_t sequence = 0;
  bool highest = false;
  for (auto _ : state) benchmark::DoNotOptimize(window.commit(sequence++ ^ 1, highest));
}
BENCHMARK(replay_commit_swapped);

void replay_refuses_a_replay(benchmark::State& state) {
  fabric::ReplayWindow window;
  bool highest = false;
  window.commit(1000, highest);
  for (auto _ : state) benchmark::DoNotOptimize(window.commit(1000, highest));
}
BENCHMARK(replay_refuses_a_replay);

// A packet as it passes a bucket of packets and bytes: tested, then charged.
void token_bucket(benchmark::State& state) {
  fabric::Bucket bucket;
  bucket.set(fabric::make_limit(1e6, 1e9, 0.01, 2'500'000'000));
  uint64_t now = 1;
  for (auto _ : state) {
    now += 2500;
    fabric::Bucket::Level before;
    const bool passes = bucket.take(now, 200, before);
    benchmark::DoNotOptimize(passes);
  }
}
BENCHMARK(token_bucket);

void checksum(benchmark::State& state) {
  const Buffer data(static_cast<size_t>(state.range(0)), 0x5a);
  for (auto _ : state) {
    benchmark::DoNotOptimize(wire::checksum_fold(wire::checksum_add(data, 0)));
  }
  state.SetBytesProcessed(state.iterations() * state.range(0));
}
BENCHMARK(checksum)->ArgName("bytes")->Arg(20)->Arg(136)->Arg(1472);

wire::PathHeader path_of(bool v6) {
  uint8_t frame[wire::kEthSize + wire::kIp6Size + wire::kUdpSize] = {};
  frame[wire::kEthSize] = v6 ? 0x60 : 0x45;
  return wire::reply_path(frame, v6, 0);
}

// Ethernet, IP and UDP headers out of a session's endpoint, IPv4's checksum included.
void write_headers(benchmark::State& state) {
  fabric::Endpoint endpoint;
  std::atomic<uint32_t> sequence{0};
  endpoint.write(path_of(state.range(0) == 6), sequence);
  alignas(64) uint8_t room[128] = {};
  uint16_t size = 64;
  for (auto _ : state) {
    benchmark::DoNotOptimize(endpoint.write_headers_before(room + 64, size, 0, sequence));
    benchmark::ClobberMemory();
    size = static_cast<uint16_t>(64 + (size & 63) + 1);
  }
}
BENCHMARK(write_headers)->ArgName("ip")->Arg(4)->Arg(6);

// Over what a roaming challenge covers.
void siphash_challenge(benchmark::State& state) {
  const ByteArray<16> key{1, 2, 3};
  Buffer message(sizeof(wire::PathHeader) + 16);
  for (auto _ : state) {
    benchmark::DoNotOptimize(crypto::siphash(key, message));
    ++message[0];
  }
}
BENCHMARK(siphash_challenge);

void x25519(benchmark::State& state) {
  const auto ours = crypto::X25519KeyPair::generate(), theirs = crypto::X25519KeyPair::generate();
  crypto::Key256 out;
  for (auto _ : state) {
    benchmark::DoNotOptimize(crypto::x25519(ours.secret, theirs.public_key, out));
  }
}
BENCHMARK(x25519);

void x25519_new_key(benchmark::State& state) {
  for (auto _ : state) benchmark::DoNotOptimize(crypto::X25519KeyPair::generate().public_key);
}
BENCHMARK(x25519_new_key);

// What a HELLO's signature covers has about this size.
constexpr size_t kSigned = 256;

void ed25519_verify(benchmark::State& state) {
  const auto identity = crypto::Identity::generate();
  const Buffer message(kSigned, 7);
  const auto signature = identity.sign(crypto::kLabelHello, {message});
  for (auto _ : state) {
    benchmark::DoNotOptimize(
        crypto::verify(identity.public_key(), crypto::kLabelHello, {message}, signature));
  }
}
BENCHMARK(ed25519_verify);

void ed25519_sign(benchmark::State& state) {
  const auto identity = crypto::Identity::generate();
  const Buffer message(kSigned, 7);
  for (auto _ : state) {
    benchmark::DoNotOptimize(identity.sign(crypto::kLabelStatement, {message}));
  }
}
BENCHMARK(ed25519_sign);

// Over the rest of the smallest HELLO: what a worker spends on a stranger.
void mac1(benchmark::State& state) {
  const ByteArray<32> key{1, 2, 3};
  const Buffer hello(288);
  for (auto _ : state) benchmark::DoNotOptimize(crypto::blake2b_128(key, {hello}));
}
BENCHMARK(mac1);

}  // namespace
}  // namespace sluice::bench

// As the other benches: --json FILE. Everything else is Google Benchmark's.
int main(int argc, char** argv) {
  std::vector<std::string> args;
  for (int i = 0; i < argc; ++i) {
    const std::string_view arg = argv[i];
    if (arg == "--json" && i + 1 == argc) {
      std::fputs("bench inner: --json needs the name of a file\n", stderr);
      return 2;
    }
    if (arg == "--json") {
      args.push_back(std::string("--benchmark_out=") + argv[++i]);
      args.emplace_back("--benchmark_out_format=json");
    } else {
      if (arg == "--help") std::puts("inner [--json FILE] and what Google Benchmark knows:\n");
      args.emplace_back(arg);
    }
  }
  std::vector<char*> pointers;
  for (auto& a : args) pointers.push_back(a.data());
  int count = static_cast<int>(pointers.size());
  pointers.push_back(nullptr);
  if (!sluice::crypto::init() || !sluice::crypto::aead().usable()) {
    std::fputs("bench inner: libsodium does not start, or this CPU lacks AES-NI\n", stderr);
    return 1;
  }
  benchmark::Initialize(&count, pointers.data());
  if (benchmark::ReportUnrecognizedArguments(count, pointers.data())) return 2;
  benchmark::AddCustomContext("aead", sluice::crypto::aead().path());
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
}
