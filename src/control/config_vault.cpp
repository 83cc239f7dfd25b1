#include <algorithm>

#include <fmt/format.h>

#include "control/config_parts.h"

namespace sluice::control {
namespace {

constexpr uint32_t kLeastArgon2Mb = 64;  // RFC 9106's second choice
constexpr uint32_t kMostArgon2Mb = 4096;

void read_tpm(const Section& s, vault::TpmOptions& out) {
  if (const auto v = s.text("tcti")) {
    if (v->text.empty()) {
      s.problem(v->line, "tcti", "is empty; give one such as device:/dev/tpmrm0");
    } else {
      out.tcti = v->text;
    }
  }
  s.file_path("auth_file", out.auth_file);
  if (!s.has("pcrs")) return;
  out.pcrs.clear();
  for (const YamlNode& node : s.list("pcrs")) {
    const auto text = scalar_text(s.problems(), node, s.place("pcrs"));
    if (!text) continue;
    const auto number = parse_decimal(*text);
    if (!number || *number >= vault::kPcrs) {
      s.problem(node.line, "pcrs",
                fmt::format("{} is no PCR; they are 0 to {}", quote(*text), vault::kPcrs - 1));
      continue;
    }
    out.pcrs.push_back(static_cast<uint8_t>(*number));
  }
  std::sort(out.pcrs.begin(), out.pcrs.end());
  if (std::adjacent_find(out.pcrs.begin(), out.pcrs.end()) != out.pcrs.end()) {
    s.problem(s.line_of("pcrs"), "pcrs", "names one twice; remove one");
  }
}

}  // namespace

void read_vault(const Section& root, vault::KeySourceOptions& out) {
  using vault::KeySource;
  const Section s = root.section("vault", {"source", "key_file", "passphrase", "tpm"});
  s.choice<KeySource>("source", out.source,
                      {{"file", KeySource::kFile},
                       {"passphrase", KeySource::kPassphrase},
                       {"tpm", KeySource::kTpm}});
  s.file_path("key_file", out.key_file);
  const Section passphrase = s.section("passphrase", {"memory_mb", "passes"});
  passphrase.number("memory_mb", out.argon2.memory_mb, kLeastArgon2Mb, kMostArgon2Mb);
  passphrase.number("passes", out.argon2.passes, 1, 100);
  read_tpm(s.section("tpm", {"tcti", "pcrs", "auth_file"}), out.tpm);
}

}  // namespace sluice::control
