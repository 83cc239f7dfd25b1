// An independent reading of the tunnel protocol, for tests to hold the relay and the agent
// against. It is written from the protocol text (wire.md; § in comments names its sections) and
// shares no code with src/, so that a mistake made there is not repeated here. Misuse throws
// std::runtime_error; what the other side sends wrongly gets an empty optional or false.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace oracle {

using Buf = std::vector<uint8_t>;
using Key = std::array<uint8_t, 32>;

template <typename T>
void put_le(Buf& out, T value) {
  for (size_t i = 0; i < sizeof(T); ++i) {
    out.push_back(static_cast<uint8_t>(static_cast<uint64_t>(value) >> (8 * i)));
  }
}

template <typename T>
T get_le(const Buf& in, size_t at) {
  if (at > in.size() || in.size() - at < sizeof(T)) {
    throw std::runtime_error("get_le beyond the buffer");
  }
  uint64_t value = 0;
  for (size_t i = 0; i < sizeof(T); ++i) {
    value |= static_cast<uint64_t>(in[at + i]) << (8 * i);
  }
  return static_cast<T>(value);
}

// Standard alphabet, padded.
std::string base64(const Buf& bytes);

// The Noise specification's SymmetricState for AESGCM and SHA256, also for a test's own responder.
class SymmetricState {
 public:
  explicit SymmetricState(std::string_view protocol_name);

  void mix_hash(const Buf& data);
  void mix_key(const Buf& material);
  void mix_key_and_hash(const Buf& material);
  Buf encrypt_and_hash(const Buf& plaintext);
  std::optional<Buf> decrypt_and_hash(const Buf& ciphertext);
  std::pair<Key, Key> split() const;
  const Key& hash() const { return hash_; }

 private:
  Key chaining_key_{};
  Key hash_{};
  Key key_{};
  bool has_key_ = false;
  uint64_t nonce_ = 0;
};

// The initiator of Noise_IKpsk2_25519_AESGCM_SHA256. Its ephemeral key comes from outside so that
// published vectors apply to it.
class Initiator {
 public:
  Initiator(const Key& static_secret, const Key& ephemeral_secret, const Key& remote_public,
            const Buf& prologue, const Key& psk);

  // Message 1 in two steps: HELLO's payload carries a signature over the hash after token s (§4).
  Buf write_e_and_s();
  Buf write_payload(const Buf& payload);
  std::optional<Buf> read_message_2(const Buf& message);

  const Key& hash() const { return state_.hash(); }
  // First key agent to relay, second back. Only after read_message_2().
  std::pair<Key, Key> split() const { return state_.split(); }

 private:
  SymmetricState state_;
  Key static_secret_;
  Key ephemeral_secret_;
  Key remote_public_;
  Key psk_;
};

struct HelloOptions {
  uint32_t sender_index = 0x1001;
  uint32_t receiver = 0;
  uint64_t time_ms = 0;
  Buf token = {};
  size_t total = 320;
  uint32_t features = 0;
  bool bad_signature = false;
  bool bad_mac1 = false;
  uint8_t version = 1;
  uint64_t counter = 0;
  bool corrupt_noise = false;    // the payload's tag; mac1 still holds
  bool nonzero_padding = false;  // signed and sealed as usual
};

struct Welcome {
  uint32_t receiver_index = 0;  // this peer's
  uint32_t sender_index = 0;    // the relay's
  uint64_t address = 0;
  uint64_t relay_time_ms = 0;
  uint64_t relay_epoch = 0;
  uint32_t trust_life_s = 0;
  uint32_t features = 0;
  uint16_t mtu = 0;
  uint8_t send_lanes = 0;
  uint8_t receive_lanes = 0;

  bool has_session() const { return receiver_index != 0 && sender_index != 0; }
};

struct SealOptions {
  std::optional<uint64_t> seq = {};  // leaves the lane's own counter alone
  uint8_t lane = 0;
  bool header_seal = false;
  bool corrupt_tag = false;
  std::optional<uint32_t> receiver = {};
  uint8_t outer_version = 1;
  std::optional<uint16_t> extension_length = {};  // a lie in an otherwise good frame header
};

struct Frame {
  uint8_t frame = 0;
  uint8_t flags = 0;
  uint32_t label = 0;
  uint64_t call_id = 0;
  Buf extension;
  Buf rest;
  uint8_t lane = 0;
  uint64_t seq = 0;
  uint32_t receiver = 0;
  bool header_seal = false;
  Buf raw_plaintext;  // the sealed region, opened
};

class Peer {
 public:
  // Equal seeds give equal long-lived keys; ephemeral keys are always random.
  explicit Peer(uint8_t seed);

  const Key& identity() const { return identity_; }
  const Key& tunnel_public() const { return tunnel_public_; }
  const Key& e2e_public() const { return e2e_public_; }
  std::string did() const;

  // Ed25519 over the label, zero-padded to 32 bytes, and the message (§1).
  Buf sign(std::string_view label, const Buf& message) const;
  // Signed { Statement { Enrol } } as protobuf (§5).
  Buf enrol_statement(const Key& relay_key, uint32_t tenant, std::string_view name,
                      uint64_t issued_ms) const;

  Buf hello(const Key& relay_public, const HelloOptions& options = {});
  // The last HELLO again, byte for byte but for mac2.
  Buf resend_with_cookie() const;
  bool read_retry(const Buf& packet);
  void forget_cookie() { cookie_.reset(); }
  // Answers the last HELLO. A WELCOME without a session (bad time) is returned and installs none; a
  // WELCOME seen before is returned and installs nothing again.
  std::optional<Welcome> read_welcome(const Buf& packet);

  // A DATA packet (UDP payload) on the session in use. Malformed frames are built as asked for.
  Buf seal(uint8_t frame, uint8_t flags, uint32_t label, uint64_t call_id, const Buf& extension,
           const Buf& rest, const SealOptions& options = {});
  // Tries every session whose own index is the packet's receiver, newest first. Keeps no replay
  // window: a test that cares compares lane and seq itself.
  std::optional<Frame> open(const Buf& packet) const;

  // Sessions stay in the order of their WELCOMEs; a new one is used at once.
  size_t session_count() const { return sessions_.size(); }
  void use_session(size_t i);

 private:
  struct Handshake {
    Initiator noise;
    Key relay_public;
    uint32_t sender_index;
    Buf packet;  // as sent first
    std::optional<Buf> accepted;
  };
  struct Session {
    uint32_t own_index;
    uint32_t relay_index;
    Key send_key;
    Key receive_key;
    std::array<uint8_t, 4> send_salt;
    std::array<uint8_t, 4> receive_salt;
    uint8_t receive_lanes;
    std::array<uint64_t, 256> next_seq;
  };

  static Session make_session(const Initiator& noise, const Welcome& welcome);
  static std::optional<Frame> open_in(const Session& session, const Buf& packet);

  Key identity_{};
  std::array<uint8_t, 64> signing_secret_{};
  Key tunnel_secret_{};
  Key tunnel_public_{};
  Key e2e_secret_{};
  Key e2e_public_{};
  std::optional<Handshake> handshake_;
  std::optional<Buf> cookie_;
  std::vector<Session> sessions_;
  size_t current_ = 0;
};

}  // namespace oracle
