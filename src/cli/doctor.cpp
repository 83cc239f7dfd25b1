#include "cli/doctor.h"

#include <linux/magic.h>
#include <sys/statfs.h>
#include <sys/timex.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include "cli/table.h"
#include "cli/views.h"

namespace sluice::cli {
namespace {

using nlohmann::json;

// An agent's calls are refused when its clock and the relay's differ by more than calls.skew_s.
constexpr long kClockWarnUs = 1'000'000;
constexpr uint32_t kCifs = 0xff534d42;  // not in linux/magic.h
constexpr uint64_t kLittleSpace = 256u << 20;

Finding look_at_clock() {
  timex t{};
  const int state = adjtimex(&t);
  if (state == -1) return {"clock", Grade::kWarning, "the kernel does not tell of it", ""};
  if (state == TIME_ERROR || (t.status & STA_UNSYNC) != 0) {
    return {"clock", Grade::kWarning, "is not synchronised",
            "run chrony or systemd-timesyncd: calls are refused from whose clock differs too much"};
  }
  const bool close = t.maxerror < kClockWarnUs;
  return {"clock", close ? Grade::kOk : Grade::kWarning,
          fmt::format("synchronised, within {:.1f} ms", double(t.maxerror) / 1000),
          close ? "" : "see what its time source is: chronyc sources"};
}

// What the store is promised: a local disk that keeps what it has synced.
Finding look_at_store(const control::Config& config) {
  const std::string& folder = config.relay.state_dir;
  struct statfs s {};
  if (statfs(folder.c_str(), &s) != 0) {
    return {"store", errno == ENOENT ? Grade::kWarning : Grade::kFailed,
            fmt::format("{}: {}", folder, std::strerror(errno)),
            errno == ENOENT ? "sluiced makes it at its first start"
                            : "correct relay.state_dir, or look again as root"};
  }
  const auto type = static_cast<uint32_t>(s.f_type);
  if (type == TMPFS_MAGIC || type == RAMFS_MAGIC) {
    return {"store", Grade::kWarning, folder + " is in memory: a reboot forgets every revocation",
            "set relay.state_dir to a folder on a local disk"};
  }
  if (type == NFS_SUPER_MAGIC || type == kCifs || type == SMB2_SUPER_MAGIC) {
    return {"store", Grade::kFailed, folder + " is on another machine's disk",
            "set relay.state_dir to a folder on a local disk: locks and syncs must hold"};
  }
  const uint64_t free = uint64_t{s.f_bavail} * static_cast<uint64_t>(s.f_frsize);
  return {"store", free >= kLittleSpace ? Grade::kOk : Grade::kWarning,
          fmt::format("{}, {} free", folder, with_unit_bytes(double(free))),
          free >= kLittleSpace ? "" : "make room: without it no revocation becomes durable"};
}

std::optional<control::Config> look_at_config(const std::string& path, Findings& out) {
  std::error_code ec;
  if (!std::filesystem::exists(path, ec)) {
    out.push_back({"config", Grade::kWarning, path + " does not exist",
                   "name one with --config; sluicectl tune proposes one"});
    return std::nullopt;
  }
  control::LoadedConfig loaded = control::load_config(path);
  if (!loaded.problems.empty()) {
    const auto& first = loaded.problems.front();
    out.push_back({"config", Grade::kFailed,
                   fmt::format("{}:{}: {}{}", path, first.line, first.text,
                               loaded.problems.size() == 1
                                   ? ""
                                   : fmt::format(", and {} more", loaded.problems.size() - 1)),
                   "sluiced --check " + path + " names every mistake"});
    return std::nullopt;
  }
  out.push_back({"config", Grade::kOk, path, ""});
  return std::move(loaded.config);
}

Result<json> look_at_daemon(const Client& client, Findings& out) {
  auto status = client.call("GET", "/v1/status");
  if (!status) {
    out.push_back({"relay", Grade::kFailed, status.error().message,
                   "start it: systemctl start sluiced; or sluiced -c FILE tells what is wrong"});
    return status;
  }
  const std::string version = text((*status)["version"]);
  const bool same = version == SLUICE_VERSION;
  out.push_back({"relay", same ? Grade::kOk : Grade::kWarning,
                 same ? fmt::format("runs, version {}", version)
                      : fmt::format("runs version {}, this is {}", version, SLUICE_VERSION),
                 same ? "" : "restart it when its agents can do without it for a second"});
  return status;
}

}  // namespace

std::optional<json> ask(const Client& client, const char* target, const char* check,
                        Findings& out) {
  auto answer = client.call("GET", target);
  if (answer) return std::move(*answer);
  out.push_back({check, Grade::kFailed, answer.error().message,
                 "the relay's log may say why: journalctl -u sluiced"});
  return std::nullopt;
}

DoctorCommand::DoctorCommand(CLI::App& app) {
  command_ = app.add_subcommand("doctor",
                                "What keeps this host or its relay from its best, and what helps");
  command_->add_option("--config", config_, "The relay's configuration")
      ->type_name("FILE")
      ->capture_default_str();
  command_->add_flag("--security", security_,
                     "What trust rests on instead: keys, revocations, denials, ciphers, modes");
  command_
      ->add_option("--from", from_,
                   "Look at a copy of a host's sys/ and proc/ in DIR, and at no relay")
      ->type_name("DIR");
  command_->footer(
      "Exit code 1 if anything failed; warnings do not count.\n"
      "Example:  sluicectl doctor --config /etc/sluice/sluiced.yaml");
}

std::optional<int> DoctorCommand::run(const Client& client) const {
  if (!command_->parsed()) return std::nullopt;
  Findings out;
  const auto config = look_at_config(config_, out);
  const control::Config* c = config ? &*config : nullptr;
  if (!from_.empty()) {
    examine_host(host::read_machine(from_), c, false, out);
  } else {
    const auto status = look_at_daemon(client, out);
    if (security_) {
      examine_security(client, status ? &*status : nullptr, c, out);
    } else {
      // Of a relay elsewhere, only what it says itself.
      if (client.url.empty()) {
        examine_host(host::read_machine(), c, status.has_value(), out);
        out.push_back(look_at_clock());
        if (c != nullptr) out.push_back(look_at_store(*c));
      }
      if (status) examine_relay(client, *status, out);
    }
  }
  if (client.as_json) {
    fmt::print("{}\n", findings_json<json>(out).dump());
  } else {
    print_findings(out);
  }
  return any_failed(out) ? 1 : 0;
}

}  // namespace sluice::cli
