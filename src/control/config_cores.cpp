#include <algorithm>
#include <array>
#include <map>

#include <fmt/format.h>

#include "control/config_parts.h"

namespace sluice::control {
namespace {

constexpr unsigned kHighestCore = 1023;
constexpr unsigned kHighestQueue = 1023;  // RTE_MAX_QUEUES_PER_PORT is 1024

bool is_file_prefix(std::string_view s) {
  return !s.empty() && s.size() <= 32 && !s.starts_with('.') &&
         std::all_of(s.begin(), s.end(), [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                  c == '_' || c == '-' || c == '.';
         });
}

// The key that an EAL argument would contradict; empty when there is none.
std::string_view key_for_argument(std::string_view argument) {
  static constexpr std::array<std::pair<std::string_view, std::string_view>, 7> kOwned = {{
      {"-l", "cores"},
      {"-c", "cores"},
      {"--lcores", "cores"},
      {"--main-lcore", "cores"},
      {"--file-prefix", "eal.file_prefix"},
      {"--in-memory", "eal.mode"},
      {"--no-huge", "eal.mode"},
  }};
  const std::string_view name = argument.substr(0, argument.find('='));
  for (const auto& [option, key] : kOwned) {
    const bool glued = option.size() == 2 && !name.starts_with("--") && name.starts_with(option);
    if (name == option || glued) return key;
  }
  return {};
}

// Reads the workers' queue lists and remembers who owns which queue.
class QueueReader {
 public:
  QueueReader(Problems& problems, const std::vector<fabric::PortConfig>& ports)
      : problems_(problems), ports_(ports) {
    for (size_t i = 0; i < ports.size(); ++i) {
      const std::string& name = ports[i].name;
      if (name.empty() || !index_of_.emplace(name, static_cast<uint16_t>(i)).second) continue;
      names_.push_back(name);
    }
  }

  std::optional<fabric::QueueRef> read(const Section& worker, std::string_view text, int line) {
    const size_t slash = text.rfind('/');
    const auto number =
        slash == std::string_view::npos ? std::nullopt : parse_decimal(text.substr(slash + 1));
    const auto refuse = [&](std::string_view why) {
      worker.problem(line, "queues", fmt::format("{} {}", quote(text), why));
      return std::nullopt;
    };
    if (!number) return refuse("is not a queue; write port/number, such as north/0");
    const std::string_view name = text.substr(0, slash);
    const auto at = index_of_.find(name);
    if (at == index_of_.end()) {
      const std::string hint = suggestion(name, names_);
      return refuse("names no port" + (hint.empty() ? "; list it under ports" : hint));
    }
    if (*number > kHighestQueue) {
      return refuse(fmt::format("is out of range; queues are numbered 0 to {}", kHighestQueue));
    }
    const fabric::QueueRef ref{at->second, static_cast<uint16_t>(*number)};
    const auto [owner, fresh] = owners_.emplace(std::pair{ref.port, ref.queue}, line);
    if (!fresh) {
      return refuse(fmt::format("is listed already on line {}; a queue belongs to one worker",
                                owner->second));
    }
    return ref;
  }

  // What only shows once all workers are read: ports that nobody polls, and gaps.
  void check_coverage() const {
    for (const auto& [name, index] : index_of_) {
      const auto begin = owners_.lower_bound({index, 0});
      if (begin == owners_.end() || begin->first.first != index) {
        problems_.add(
            ports_[index].line,
            fmt::format("ports: no worker reads {}; add its queue 0 to a worker's queues, "
                        "or remove the port",
                        quote(name)));
        continue;
      }
      unsigned next = 0;
      for (auto it = begin; it != owners_.end() && it->first.first == index; ++it, ++next) {
        if (it->first.second == next) continue;
        problems_.add(
            it->second,
            fmt::format("cores.workers: queue {} of port {} is listed, but its queue {} "
                        "belongs to no worker; number a port's queues from 0 without gaps",
                        it->first.second, quote(name), next));
        break;
      }
    }
  }

 private:
  Problems& problems_;
  const std::vector<fabric::PortConfig>& ports_;
  std::map<std::string_view, uint16_t> index_of_;  // of the first port of each name
  std::vector<std::string_view> names_;
  std::map<std::pair<uint16_t, uint16_t>, int> owners_;  // port and queue, the line that lists it
};

}  // namespace

void read_eal(const Section& root, fabric::Topology& out) {
  const Section s = root.section("eal", {"mode", "file_prefix", "args"});
  s.choice<fabric::EalMode>("mode", out.mode,
                            {{"shared", fabric::EalMode::kShared},
                             {"in_memory", fabric::EalMode::kInMemory},
                             {"no_huge", fabric::EalMode::kNoHuge}});
  if (const auto v = s.text("file_prefix")) {
    if (is_file_prefix(v->text)) {
      out.file_prefix = v->text;
    } else {
      s.problem(v->line, "file_prefix",
                fmt::format("{} cannot name files; give 1 to 32 of a-z, A-Z, 0-9, _, - and .",
                            quote(v->text)));
    }
  }
  for (const auto& node : s.list("args")) {
    const auto text = scalar_text(root.problems(), node, s.place("args"));
    if (!text) continue;
    const auto owner = key_for_argument(*text);
    if (text->empty()) {
      s.problem(node.line, "args", "an argument is empty; remove it");
    } else if (!owner.empty()) {
      s.problem(node.line, "args",
                fmt::format("{} would contradict {}; set it there", quote(*text), owner));
    } else {
      out.eal_args.push_back(*text);
    }
  }
}

void read_cores(const Section& root, fabric::Topology& out) {
  const Section s = root.section("cores", {"control", "workers", "verifiers"});
  s.number("control", out.control_core, 0, kHighestCore);
  const auto nodes =
      s.required_list("workers", "list at least one worker with its core and queues");
  if (nodes.size() > fabric::kMaxWorkers) {
    s.problem(nodes[fabric::kMaxWorkers].line, "workers",
              fmt::format("{} workers are listed; a relay runs at most {}", nodes.size(),
                          fabric::kMaxWorkers));
  }
  QueueReader queues(root.problems(), out.ports);
  for (size_t i = 0; i < nodes.size(); ++i) {
    const Section w(root.problems(), &nodes[i], fmt::format("cores.workers[{}]", i + 1),
                    {"core", "queues"});
    fabric::WorkerConfig worker;
    if (w.require("core", "give the number of a CPU core")) {
      w.number("core", worker.core, 0, kHighestCore);
    }
    for (const auto& node : w.required_list("queues", "list what it polls, such as [north/0]")) {
      const auto text = scalar_text(root.problems(), node, w.place("queues"));
      if (!text) continue;
      if (const auto ref = queues.read(w, *text, node.line)) worker.queues.push_back(*ref);
    }
    out.workers.push_back(std::move(worker));
  }
  if (!nodes.empty()) queues.check_coverage();
  const auto verifiers = s.list("verifiers");
  if (verifiers.size() > fabric::kMaxVerifiers) {
    s.problem(verifiers[fabric::kMaxVerifiers].line, "verifiers",
              fmt::format("{} verifiers are listed; a relay runs at most {}", verifiers.size(),
                          fabric::kMaxVerifiers));
  }
  for (const YamlNode& node : verifiers) {
    const auto text = scalar_text(root.problems(), node, s.place("verifiers"));
    if (!text) continue;
    const auto core = parse_decimal(*text);
    if (core && *core <= kHighestCore) {
      out.verifiers.push_back(static_cast<unsigned>(*core));
    } else {
      s.problem(node.line, "verifiers",
                fmt::format("{} is no CPU core; give numbers, such as [5, 6]", quote(*text)));
    }
  }
}

}  // namespace sluice::control
