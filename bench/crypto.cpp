// scripts/bench crypto: public-key operations in batches against libsodium one at a time, on one
// core, in turns of one run.
#include <sys/mman.h>

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <functional>
#include <memory>
#include <random>

#include <pthread.h>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/clock.h"
#include "bench/command_line.h"
#include "bench/handshake_mill.h"
#include "bench/measure.h"
#include "bench/progress.h"
#include "crypto/aead.h"
#include "crypto/ed25519_batch.h"
#include "crypto/sha512_batch.h"
#include "crypto/x25519_batch.h"

namespace sluice::bench {
namespace {

using Json = nlohmann::json;

constexpr size_t kMessage = 200;
constexpr size_t kBatch = crypto::Ed25519BatchVerifier::kMaxJobs;

struct Options {
  unsigned core = 1;
  unsigned slices = kSlices;
  double seconds = kSliceSeconds;
  uint32_t keys = 50'000;
  std::string json;
};

bool pin(unsigned core) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(core, &set);
  return pthread_setaffinity_np(pthread_self(), sizeof set, &set) == 0;
}

// Signatures of many identities, one each, in random order, and the keys' preparations on 2 MB
// pages as in the arena.
class Signed {
 public:
  explicit Signed(uint32_t n) : n_(n), messages_(n), keys_(n), signatures_(n), order_(n) {
    for (uint32_t i = 0; i < n; ++i) {
      const auto identity = crypto::Identity::generate();
      keys_[i] = identity.public_key();
      crypto::random_bytes(messages_[i]);
      // The label stands for the first 32 bytes of the signed message.
      std::copy(crypto::kLabelCall.begin(), crypto::kLabelCall.end(), messages_[i].begin());
      signatures_[i] = identity.sign(crypto::kLabelCall, {Bytes(messages_[i]).subspan(32)});
      order_[i] = i;
      if (i % 5000 == 4999) note(fmt::format("{} of {} signatures made", i + 1, n));
    }
    std::shuffle(order_.begin(), order_.end(), std::mt19937_64(1));
    const size_t bytes = (n * sizeof(crypto::PreparedKey) + kPage - 1) / kPage * kPage;
    constexpr int kFlags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE;
    void* p = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, kFlags | MAP_HUGETLB, -1, 0);
    huge_ = p != MAP_FAILED;
    if (!huge_) p = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, kFlags, -1, 0);
    if (p == MAP_FAILED) throw std::bad_alloc();
    prepared_ = static_cast<crypto::PreparedKey*>(p);
  }
  Signed(const Signed&) = delete;
  Signed& operator=(const Signed&) = delete;

  bool huge() const { return huge_; }
  // Nanoseconds of one key's preparation; -1 if a key could not be.
  double prepare(crypto::Ed25519BatchVerifier& verifier, const Clock& clock) {
    const uint64_t began = clock.ticks();
    constexpr uint32_t kAtOnce = crypto::Ed25519BatchVerifier::kMaxPrepare;
    for (uint32_t i = 0; i < n_; i += kAtOnce) {
      const uint32_t n = std::min(kAtOnce, n_ - i);
      crypto::PreparedKey* out[kAtOnce];
      for (uint32_t k = 0; k < n; ++k) out[k] = &prepared_[i + k];
      if (verifier.prepare({&keys_[i], n}, {out, n}) != (1u << n) - 1) return -1;
    }
    return 1000 * clock.us_from_ticks(clock.ticks() - began) / n_;
  }
  // The next `n` in the order over the first `keys` identities.
  std::span<const crypto::VerifyJob> jobs(size_t n, uint32_t keys, bool prepared) {
    for (size_t i = 0; i < n; ++i) {
      uint32_t k;
      do {
        k = order_[at_];
        at_ = at_ + 1 == n_ ? 0 : at_ + 1;
      } while (k >= keys);
      jobs_[i] = {&keys_[k], messages_[k], &signatures_[k], prepared ? &prepared_[k] : nullptr};
    }
    return {jobs_, n};
  }

 private:
  static constexpr size_t kPage = 2u << 20;
  uint32_t n_;
  bool huge_ = false;
  std::vector<ByteArray<kMessage>> messages_;
  std::vector<crypto::PublicKey> keys_;
  std::vector<crypto::Signature> signatures_;
  std::vector<uint32_t> order_;
  crypto::PreparedKey* prepared_ = nullptr;
  crypto::VerifyJob jobs_[kBatch];
  size_t at_ = 0;
};

class Bench {
 public:
  explicit Bench(const Options& o) : o_(o) {}

  int run() {
    if (!pin(o_.core)) {
      std::fprintf(stderr, "bench crypto: there is no core %u\n", o_.core);
      return 2;
    }
    fmt::print("   back end {}; ratios are medians of {} turns of {} s\n",
               crypto::name_of(crypto::batch_engine()), o_.slices, o_.seconds);
    fmt::print("   {:<28} {:>12} {:>10} {:>12} {:>8}\n", "", "per second", "ns each", "libsodium's",
               "ratio");
    signatures();
    agreements();
    hashes();
    handshakes();
    if (!o_.json.empty()) std::ofstream(o_.json) << Json{{"lines", lines_}}.dump(1) << '\n';
    return failed_ ? 1 : 0;
  }

 private:
  using Step = std::function<size_t()>;  // how many operations it did

  double per_second(const Step& step) {
    const double ns = measure_slice(
        clock_, repeated_,
        [&] {
          const uint64_t began = clock_.ticks();
          const size_t n = step();
          return std::pair<uint64_t, uint64_t>(clock_.ticks() - began, n);
        },
        o_.seconds);
    return 1e9 / ns;
  }

  // Ours and libsodium's in turns. The comparison's own line comes first where it has a name.
  void compare(const std::string& name, const Step& mine, const std::string& other_name,
               const Step& other, Json more = Json::object()) {
    note(name);
    std::vector<double> ours, theirs, ratios;
    for (unsigned i = 0; i < o_.slices; ++i) {
      theirs.push_back(per_second(other));
      ours.push_back(per_second(mine));
      ratios.push_back(ours.back() / theirs.back());
    }
    clear_note();
    if (!other_name.empty()) line(other_name, median(theirs), median(theirs), 1, Json::object());
    line(name, median(ours), median(theirs), median(ratios), std::move(more));
  }
  void line(const std::string& name, double rate, double other, double ratio, Json more) {
    fmt::print("   {:<28} {:>12.0f} {:>10.0f} {:>12.0f} {:>8.2f}\n", name, rate, 1e9 / rate, other,
               ratio);
    std::fflush(stdout);
    Json j{{"name", name}, {"per_second", rate}, {"ratio_to_libsodium", ratio}};
    j.update(more);
    lines_.push_back(std::move(j));
  }
  void require(bool ok, const char* what) {
    if (ok) return;
    failed_ = true;
    clear_note();
    std::fprintf(stderr, "bench crypto: %s\n", what);
  }

  void signatures() {
    Signed pool(o_.keys);
    const bool lanes = crypto::batch_engine() != nullptr;
    const double prepare_ns = pool.prepare(verifier_, clock_);
    require(!lanes || prepare_ns > 0, "a key could not be prepared");
    const uint32_t few = std::min<uint32_t>(1000, o_.keys);
    const Step sodium = [&] {
      for (const auto& j : pool.jobs(8, few, false)) {
        require(crypto::verify_raw(*j.key, j.message, *j.signature), "libsodium refuses");
      }
      return size_t{8};
    };
    const auto batch = [&](size_t n, uint32_t keys, bool prepared) -> Step {
      return [&pool, this, n, keys, prepared] {
        require(verifier_.verify(pool.jobs(n, keys, prepared)) ==
                    (n == 64 ? ~uint64_t{0} : (uint64_t{1} << n) - 1),
                "a good signature is refused");
        return n;
      };
    };
    compare("ed25519_any_64", batch(64, few, false), "ed25519_libsodium", sodium);
    Json facts{{"bytes_per_key", sizeof(crypto::PreparedKey)},
               {"prepare_ns_per_key", prepare_ns},
               {"pages", pool.huge() ? "2 MB" : "ordinary: no hugepages were free"}};
    compare("ed25519_prepared_1000", batch(64, few, true), "", sodium, facts);
    compare(fmt::format("ed25519_prepared_{}", o_.keys), batch(64, o_.keys, true), "", sodium,
            facts);
    compare("ed25519_any_8", batch(8, few, false), "", sodium);
    compare("ed25519_any_1", batch(1, few, false), "", sodium);
    compare("ed25519_prepared_8", batch(8, few, true), "", sodium);
    latency("ed25519_batch8_latency_us", batch(8, few, false));
    latency("ed25519_prepared_batch8_latency_us", batch(8, few, true));
    if (lanes) {
      fmt::print("   a key's preparation: {:.1f} us, {} bytes{}\n", prepare_ns / 1000,
                 sizeof(crypto::PreparedKey),
                 pool.huge() ? "" : "; ordinary pages, no hugepages were free");
    }
  }

  void latency(const char* name, const Step& step) {
    std::vector<double> us;
    for (int i = 0; i < 4000; ++i) {
      const uint64_t began = clock_.ticks();
      (void)step();
      us.push_back(clock_.us_from_ticks(clock_.ticks() - began));
    }
    std::sort(us.begin(), us.end());
    const double p50 = us[us.size() / 2], p99 = us[us.size() * 99 / 100];
    fmt::print("   {:<28} p50 {:.1f} us, p99 {:.1f} us\n", name, p50, p99);
    lines_.push_back({{"name", name},
                      {"us", p50},
                      {"us_p99", p99},
                      {"per_second", 1e6 / p50 * 8},
                      {"ratio_to_libsodium", nullptr}});
  }

  void agreements() {
    std::vector<crypto::X25519KeyPair> mine(8), theirs(8);
    crypto::x25519_generate(mine);
    crypto::x25519_generate(theirs);
    std::vector<crypto::Key256> out(8);
    std::vector<crypto::X25519Job> jobs;
    for (size_t i = 0; i < 8; ++i)
      jobs.push_back({&mine[i].secret, &theirs[i].public_key, &out[i]});
    compare(
        "x25519_8",
        [&] {
          crypto::x25519_batch(jobs);
          return size_t{8};
        },
        "x25519_libsodium",
        [&] {
          for (auto& j : jobs) require(crypto::x25519(*j.secret, *j.peer, *j.out), "low order");
          return size_t{8};
        });
    compare(
        "x25519_base_8",
        [&] {
          crypto::x25519_public_keys(mine);
          return size_t{8};
        },
        "x25519_base_libsodium",
        [&] {
          for (auto& p : mine) p = crypto::X25519KeyPair::from_secret(p.secret);
          return size_t{8};
        });
  }

  void hashes() {
    Buffer text(64 + kMessage);
    std::vector<ByteArray<64>> digests(8);
    std::vector<crypto::Sha512Job> jobs;
    for (auto& d : digests) {
      jobs.push_back({Bytes(text).first(64), Bytes(text).subspan(64), &d});
    }
    compare(
        "sha512_264_bytes_8",
        [&] {
          crypto::sha512_batch(jobs);
          return size_t{8};
        },
        "sha512_264_bytes_libsodium",
        [&] {
          crypto::sha512_batch(jobs, nullptr);
          return size_t{8};
        });
  }

  void handshakes() {
    HandshakeMill mill(64);
    compare(
        "handshakes", [&] { return mill.answer_together(); }, "handshakes_one_at_a_time",
        [&] { return mill.answer_one_by_one(); });
    if (mill.prepare()) {
      compare(
          "handshakes_prepared", [&] { return mill.answer_together(); }, "",
          [&] { return mill.answer_one_by_one(); });
    }
    require(mill.failures() == 0, "a handshake failed");
  }

  Options o_;
  Clock clock_;
  crypto::Ed25519BatchVerifier verifier_;
  unsigned repeated_ = 0;
  bool failed_ = false;
  Json lines_ = Json::array();
};

}  // namespace

int main_of_crypto(int argc, char** argv) {
  Options o;
  sluice::bench::CommandLine app{
      "Ed25519, X25519 and handshakes in batches, against libsodium one at a time, on one core"};
  app.add_option("--core", o.core, "where it runs");
  app.add_option("--slices", o.slices, "turns, whose median counts").range(1u, 99u);
  app.add_option("--seconds", o.seconds, "of each turn").range(0.01, 10.0);
  app.add_option("--keys", o.keys, "identities of the second case with prepared keys")
      .range(64u, 1'000'000u);
  app.add_option("--json", o.json, "write the lines there");
  if (const auto done = app.parse(argc, argv)) return *done;
  if (!crypto::init() || !crypto::aead().usable()) {
    std::fputs("bench crypto: libsodium does not start, or this CPU lacks AES-NI\n", stderr);
    return 1;
  }
  return Bench(o).run();
}

}  // namespace sluice::bench

int main(int argc, char** argv) {
  return sluice::bench::main_of_crypto(argc, argv);
}
