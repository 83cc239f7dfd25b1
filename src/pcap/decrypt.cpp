// decrypt: a copy of a capture in which what the key log has keys for is in clear.
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "pcap/capture_file.h"
#include "pcap/commands.h"
#include "pcap/opener.h"
#include "pcap/progress.h"

namespace sluice::capture {
namespace {

using crypto::KeyLogKind;

struct Tally {
  uint64_t packets = 0, tunnel = 0, truncated = 0, credentials = 0;
  struct Layer {
    uint64_t opened = 0, unknown = 0, refused = 0;
    void count(Opening o) {
      opened += o == Opening::kDone ? 1 : 0;
      unknown += o == Opening::kUnknown ? 1 : 0;
      refused += o == Opening::kRefusedTag ? 1 : 0;
    }
    uint64_t sealed() const { return opened + unknown + refused; }
    nlohmann::ordered_json json() const {
      return {{"sealed", sealed()},
              {"opened", opened},
              {"unknown_session", unknown},
              {"refused_tag", refused}};
    }
  } data, messages;
};

Result<void> copy(CaptureReader& in, PacketFinder& finder, Opener& opener, CaptureWriter& out,
                  Tally& t) {
  Progress progress;
  for (;;) {
    const auto packet = in.next();
    if (!packet) {
      progress.end();
      return tl::unexpected(packet.error());
    }
    if (!*packet) break;
    progress.step();
    ++t.packets;
    const MutBytes bytes = (*packet)->bytes;
    TunnelPacket where;
    const Found found = finder.find(bytes, (*packet)->wire_size, where);
    t.tunnel += found != Found::kOther ? 1 : 0;
    t.truncated += found == Found::kTruncated ? 1 : 0;
    if (found == Found::kTunnel) {
      const auto opened = opener.open(bytes.subspan(where.payload_offset, where.payload_size));
      t.data.count(opened.tunnel);
      t.messages.count(opened.message);
      t.credentials += opened.credential ? 1 : 0;
      const bool changed =
          opened.tunnel == Opening::kDone || opened.message == Opening::kDone || opened.credential;
      if (changed) mend_checksum(bytes, where);
    }
    out.write(**packet);
  }
  progress.end();
  return {};
}

void print(const Tally& t, const KeyStore& keys) {
  fmt::print(stderr,
             "{} packets, {} of them the tunnel's\n"
             "  sealed by agent or relay   {:>8}: {} opened, {} of sessions that the key log does "
             "not have, {} whose tag does not hold\n"
             "  sealed end to end          {:>8}: {} opened, {} of sessions that the key log does "
             "not have, {} whose tag does not hold\n",
             t.packets, t.tunnel, t.data.sealed(), t.data.opened, t.data.unknown, t.data.refused,
             t.messages.sealed(), t.messages.opened, t.messages.unknown, t.messages.refused);
  if (t.truncated > 0) {
    fmt::print(stderr, "  {} were cut by the capture and left as they are: capture with -s 0\n",
               t.truncated);
  }
  if (t.credentials > 0) {
    fmt::print(stderr, "  {} credentials of the relay's vault were blanked\n", t.credentials);
  }
  if (keys.ignored_lines() > 0) {
    fmt::print(stderr, "  {} lines of the key log are of no form that this version knows\n",
               keys.ignored_lines());
  }
}

nlohmann::ordered_json to_json(const Tally& t, const KeyStore& keys) {
  return {{"packets", t.packets},
          {"tunnel", t.tunnel},
          {"data", t.data.json()},
          {"messages", t.messages.json()},
          {"truncated", t.truncated},
          {"credentials_blanked", t.credentials},
          {"key_log",
           {{"tunnel_sessions", keys.sessions(KeyLogKind::kTunnel)},
            {"end_to_end_sessions", keys.sessions(KeyLogKind::kEndToEnd)},
            {"ignored_lines", keys.ignored_lines()}}}};
}

}  // namespace

Result<int> run_decrypt(const DecryptCommand& command) {
  if (command.json && command.out == "-") {
    return fail(ErrorCode::kUsage, "--json and the capture both want standard output; name a file");
  }
  const auto keys = KeyStore::load(command.key_log);
  if (!keys) return tl::unexpected(keys.error());
  auto in = CaptureReader::open(command.in);
  if (!in) return tl::unexpected(in.error());
  auto finder = PacketFinder::create(in->link_type(), command.port);
  if (!finder) return tl::unexpected(finder.error());
  auto out = CaptureWriter::create(command.out, *in);
  if (!out) return tl::unexpected(out.error());

  Opener opener(*keys);
  Tally tally;
  const auto copied = copy(*in, *finder, opener, *out, tally);
  if (auto ok = out->finish(); !ok) return tl::unexpected(ok.error());
  if (command.json) {
    fmt::print("{}\n", to_json(tally, *keys).dump());
  } else {
    print(tally, *keys);
  }
  if (!copied) return tl::unexpected(copied.error());
  if (tally.data.sealed() == 0 || tally.data.opened > 0 || tally.messages.opened > 0) return 0;
  return fail(ErrorCode::kNotFound,
              fmt::format("{} has no session of this capture: the key log has to be on before the "
                          "agent greets the relay (docs/capture.md)",
                          command.key_log));
}

}  // namespace sluice::capture
