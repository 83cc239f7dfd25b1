// Writes valid samples of everything that the fuzz targets read: `fuzz_seeds FOLDER` makes
// FOLDER/tunnel, frame, ip, capture, statement, text, agent and tun. With these alone every
// target's canary is content.
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <tuple>

#include "base/address.h"
#include "control.pb.h"
#include "crypto/identity.h"
#include "crypto/key_log.h"
#include "crypto/text.h"
#include "wire/end_to_end.h"
#include "wire/frame.h"
#include "wire/ip.h"
#include "wire/statement.h"
#include "wire/stream.h"
#include "wire/tunnel.h"

namespace {

using namespace sluice;
using namespace sluice::wire;
namespace fs = std::filesystem;

class Folder {
 public:
  explicit Folder(fs::path path) : path_(std::move(path)) { fs::create_directories(path_); }
  void add(const char* name, Bytes bytes) const {
    std::ofstream out(path_ / name, std::ios::binary);
    out.write(as_text(bytes).data(), static_cast<std::streamsize>(bytes.size()));
    if (!out.flush()) {
      std::fprintf(stderr, "cannot write %s\n", (path_ / name).c_str());
      std::exit(1);
    }
  }
  void add(const char* name, std::string_view text) const { add(name, as_bytes(text)); }

 private:
  fs::path path_;
};

Buffer outer(Type type, uint8_t version, size_t sealed, uint64_t counter, size_t size) {
  Buffer out(size, 0);
  write_outer(out.data(), {uint8_t(type), version, static_cast<uint16_t>(sealed), 9, counter});
  return out;
}

void tunnel(const Folder& to) {
  for (size_t size : {kHelloMin, kHelloMin + 100}) {
    to.add(size == kHelloMin ? "hello" : "hello-long",
           outer(Type::kHello, 1, size - kNoiseOffset - 2 * kMacSize, 0, size));
  }
  const Buffer token(16, 0x5a);
  for (size_t n : {size_t{0}, token.size()}) {
    Buffer payload = build_hello_payload({1, 2, 3}, 1'700'000'000'000, 1, Bytes(token).first(n),
                                         hello_payload_size(n));
    payload.resize(payload.size() + 64, 0x33);
    to.add(n == 0 ? "payload" : "payload-token", payload);
  }
  to.add("welcome", outer(Type::kWelcome, 1, kWelcomeNoise, 0, kWelcomeSize));
  to.add("retry", outer(Type::kRetry, 1, kCookieSize + kTagSize, 0, kRetrySize));
  to.add("version", build_version(outer(Type::kHello, 2, 0, 7, kVersionTriggerMin)));
  to.add("unknown-version", outer(Type::kHello, 2, 0, 7, kVersionTriggerMin));
  to.add("data-least", outer(Type::kData, 1, 16, make_counter(1, 5), kDataMin));
  to.add("data-full", outer(Type::kData, 1, 100, make_counter(1, 5), kDataRegion + 100));
  to.add("data-header", outer(Type::kData, 1, 16, make_counter(255, 5), kDataRegion + 100));
}

Buffer frame_of(FrameType type, uint8_t flags, size_t extension, uint32_t label, uint64_t call,
                size_t after) {
  Buffer out(sizeof(FrameHeader) + after, 0);
  write_frame(out.data(), {uint8_t(type), flags, static_cast<uint16_t>(extension), label, call});
  return out;
}

Buffer message(E2eType type, uint64_t counter, size_t size) {
  Buffer out(size, 0);
  store_le(out.data(), E2eHeader{uint8_t(type), {0, 0, 0}, 77, counter});
  return out;
}

void frame(const Folder& to) {
  const uint32_t label = make_label(3, 5);
  to.add("keepalive", frame_of(FrameType::kKeepalive, 0, 0, 0, 0, 0));
  to.add("ping", frame_of(FrameType::kKeepalive, 1, 0, 0, 99, 0));
  to.add("call-open", frame_of(FrameType::kCallOpen, 0, kEnvelopeSize, label, 5, kEnvelopeSize));
  to.add("call-close",
         frame_of(FrameType::kCallClose, 1, kCallCloseSize, label, 5, kCallCloseSize));
  to.add("call-accept",
         frame_of(FrameType::kCallAccept, 1, kCallAcceptSize, label, 5, kCallAcceptSize));
  to.add("call-deny", frame_of(FrameType::kCallDeny, 0, 24, label, 5, 24));
  to.add("control", frame_of(FrameType::kControl, 0, 40, 0, 1, 40));
  to.add("credential", frame_of(FrameType::kCredential, 0, 24, label, 5, 24));
  const struct {
    const char* name;
    FrameType frame;
    uint64_t call;
    Buffer inner;
  } messages[] = {
      {"kk1", FrameType::kDatagram, 0, message(E2eType::kKk1, 0, kKk1Size)},
      {"kk2", FrameType::kDatagram, 0, message(E2eType::kKk2, 0, kKk2Size)},
      {"datagram", FrameType::kDatagram, 0, message(E2eType::kTransport, 4, 80)},
      {"call-data", FrameType::kCallData, 5, message(E2eType::kTransport, 5, 80)},
  };
  const Buffer key(kStreamKey, 7);
  const StreamMessage streams[] = {
      {.flags = kStreamBegin | kStreamEnd, .call_id = 5, .key = key, .data = key},
      {.flags = kStreamBegin | kStreamReply | kStreamCredit, .call_id = 5, .credit = 9},
      {.flags = kStreamEnd, .status = 512}};
  for (size_t i = 0; i < std::size(streams); ++i) {
    Buffer out;
    write_stream(streams[i], out);
    to.add(("stream-" + std::to_string(i)).c_str(), out);
  }
  for (const auto& m : messages) {
    Buffer out = frame_of(m.frame, 0, 0, label, m.call, 0);
    out.insert(out.end(), m.inner.begin(), m.inner.end());
    to.add(m.name, out);
  }
}

// Headers of the project's own making: a path back to nobody, then the payload.
Buffer udp(bool v6, uint16_t payload, uint8_t tos) {
  PathHeader path{};
  path.size = static_cast<uint8_t>(kEthSize + (v6 ? kIp6Size : kIp4Size) + kUdpSize);
  store_be16(path.bytes + 12, v6 ? kEtherIp6 : kEtherIp4);
  uint8_t* ip = path.bytes + kEthSize;
  ip[0] = v6 ? 0x60 : 0x45;
  ip[v6 ? 6 : 9] = kProtoUdp;
  ip[v6 ? 7 : 8] = 64;
  ip[v6 ? 8 : 12] = 10;
  ip[v6 ? 24 : 16] = 11;
  Buffer out(size_t{path.size} + payload, 0x61);
  write_headers(out.data(), path, payload, tos);
  return out;
}

void ip(const Folder& to) {
  for (bool v6 : {false, true}) {
    const std::string family = v6 ? "6" : "4";
    Buffer f = udp(v6, 33, 2);
    to.add(("udp" + family).c_str(), f);
    finish_udp_checksum(f.data(), v6, 33);
    to.add(("udp" + family + "-checksum").c_str(), f);
    f[kEthSize + (v6 ? 6 : 9)] = v6 ? kProtoIcmp6 : kProtoIcmp4;
    to.add(("icmp" + family).c_str(), f);
  }
  Buffer options = udp(false, 33, 0);
  options[kEthSize] = 0x46;
  to.add("options", options);
  Buffer fragment = udp(false, 33, 0);
  fragment[kEthSize + 6] = 0x20;
  to.add("fragment", fragment);
  Buffer extension = udp(true, 33, 0);
  extension[kEthSize + 6] = 60;
  to.add("extension", extension);
  Buffer arp(60, 0);
  store_be16(arp.data() + 12, kEtherArp);
  to.add("arp", arp);
}

// An opened packet to the relay in an Ethernet frame: a byte for the target, then the packet.
Buffer captured(Bytes frame) {
  Buffer out = udp(true, static_cast<uint16_t>(kDataRegion + frame.size()), 0);
  store_be16(out.data() + kEthSize + kIp6Size + 2, 7600);
  uint8_t* outer = out.data() + kEthSize + kIp6Size + kUdpSize;
  write_outer(outer, {0x80 | uint8_t(Type::kData), 1, static_cast<uint16_t>(frame.size()), 9, 5});
  std::copy(frame.begin(), frame.end(), outer + kDataRegion);
  out.insert(out.begin(), 0);
  return out;
}

void capture(const Folder& to) {
  const uint32_t label = make_label(3, 5);
  to.add("close",
         captured(frame_of(FrameType::kCallClose, 1, kCallCloseSize, label, 5, kCallCloseSize)));
  Buffer data = frame_of(FrameType::kCallData, 0, 0, label, 5, 0);
  Buffer inner = message(E2eType::kTransport, 5, 80);
  inner[0] |= 0x80;
  data.insert(data.end(), inner.begin(), inner.end());
  to.add("message", captured(data));
  Buffer cut = captured(data);
  cut[0] = 1 << 5;  // one byte was cut off
  cut.pop_back();
  to.add("cut", cut);
  crypto::KeyLogEntry entry;
  entry.unix_ms = 1'700'000'000'000;
  const crypto::SecretText line = crypto::key_log_line(entry);
  to.add("line", line.view().substr(0, line.size() - 1));
}

void statement(const Folder& to) {
  pb::Statement enrol;
  enrol.set_version(1);
  enrol.set_relay_key(std::string(32, 'r'));
  enrol.set_tenant(7);
  enrol.set_issued_ms(1'700'000'000'000);
  enrol.mutable_enrol()->set_name("agent");
  enrol.mutable_enrol()->set_visibility(1);
  enrol.mutable_enrol()->set_e2e_key(std::string(32, 'e'));
  pb::Statement revoke = enrol;
  revoke.mutable_trust_revoke()->set_request_digest(std::string(32, 'd'));
  revoke.mutable_trust_revoke()->set_reason("key lost");
  to.add("enrol", encode_statement(enrol));
  to.add("revoke", encode_statement(revoke));

  pb::Signed envelope;
  envelope.set_statement(encode_statement(revoke));
  envelope.set_signer(std::string(32, 's'));
  envelope.set_signature(std::string(64, 'g'));
  to.add("signed", envelope.SerializeAsString());

  pb::Control control;
  control.mutable_ack();
  to.add("control-ack", control.SerializeAsString());
  *control.mutable_revoked() = envelope;
  to.add("control-revoked", control.SerializeAsString());
  auto* edge = control.mutable_edge_sync()->add_edges();
  edge->set_label(make_label(3, 5));
  edge->set_peer(std::string(32, 'p'));
  edge->set_name("peer");
  to.add("control-edges", control.SerializeAsString());
}

void text(const Folder& to) {
  const ByteArray<32> key{1, 2, 3, 250};
  const auto id = crypto::Identity::from_seed(crypto::Key256(key));
  to.add("did", crypto::to_did(id.public_key()));
  to.add("base58", crypto::to_base58(key));
  to.add("base58-zeros", crypto::to_base58(ByteArray<8>{0, 0, 0, 9}));
  to.add("base64", crypto::to_base64(key));
  to.add("base64url", crypto::to_base64url(key));
  to.add("hex", crypto::to_hex(key));
  to.add("address", to_string(VirtualAddress{7, 0x0001a3f0}));
  to.add("address-highest", to_string(VirtualAddress{65535, 0xffffffff}));
}

void agent(const Folder& to) {
  to.add("join", "sluice://relay.example:7600/#" + crypto::to_base64url(ByteArray<32>{9, 1}));
  to.add("join-v6-token", "sluice://[fd00::1]:7600/#" + crypto::to_base64url(ByteArray<32>{9, 1}) +
                              "." + crypto::to_base64url(ByteArray<16>{1}));
  to.add("target", "/v1/messages?max=10&wait_ms=5&peer=a%20b");
  pb::Control empty;
  empty.mutable_edge_sync()->set_sync_id(1);
  empty.mutable_edge_sync()->set_parts(1);
  to.add("edges-none", empty.SerializeAsString());
  pb::Control one = empty;
  pb::Edge* edge = one.mutable_edge_sync()->add_edges();
  edge->set_label(1u << 24 | 5);
  edge->set_peer(std::string(32, '\1'));
  edge->set_name("beta");
  edge->set_right(pb::MAY_SEND);
  edge->mutable_peer_enrol()->set_signer(std::string(32, '\1'));
  to.add("edges-one", one.SerializeAsString());
  pb::Control key;
  key.mutable_operator_key()->set_key(std::string(32, '\7'));
  to.add("operator-key", key.SerializeAsString());
}

// Records as fuzz_tun.cpp reads them: 1 repairs, 2 goes on from the one before, 4 ends a batch.
void tun(const Folder& to) {
  const auto record = [](uint8_t flags, uint8_t next, size_t payload) {
    Buffer packet(kIp6Size + 20 + payload, 0x11);
    packet[6] = next;
    packet[kIp6Size + 12] = 0x50;
    packet[kIp6Size + 13] = 0x10;
    Buffer out{flags, static_cast<uint8_t>(packet.size()),
               static_cast<uint8_t>(packet.size() >> 8)};
    out.insert(out.end(), packet.begin(), packet.end());
    return out;
  };
  Buffer train;
  for (const auto& [flags, next, payload] : {std::tuple<uint8_t, uint8_t, size_t>{1, 6, 100},
                                             {3, 6, 100},
                                             {3, 6, 100},
                                             {3, 6, 40},
                                             {3, 6, 100},
                                             {7, 6, 100},
                                             {1, 17, 50},
                                             {1, 6, 0}}) {
    const Buffer one = record(flags, next, payload);
    train.insert(train.end(), one.begin(), one.end());
  }
  to.add("train", train);
  to.add("alone", record(1, 6, 10));
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2 || !crypto::init()) {
    std::fputs("usage: fuzz_seeds FOLDER\n", stderr);
    return 2;
  }
  const fs::path root = argv[1];
  tunnel(Folder(root / "tunnel"));
  frame(Folder(root / "frame"));
  ip(Folder(root / "ip"));
  capture(Folder(root / "capture"));
  statement(Folder(root / "statement"));
  text(Folder(root / "text"));
  agent(Folder(root / "agent"));
  tun(Folder(root / "tun"));
  return 0;
}
