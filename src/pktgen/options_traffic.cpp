#include <algorithm>
#include <cstdlib>

#include "pktgen/options_parts.h"

namespace sluice::pktgen {
namespace {

constexpr uint16_t kImixFrames[] = {94, 94, 94, 94, 94, 94, 94, 594, 594, 594, 594, 1518};

uint16_t payload_of(uint32_t frame, bool v6, Problems& problems) {
  if (frame < overhead(v6) || frame > 9018) {
    problems.add("a frame of {} bytes: over {} the smallest has {}, FCS included", frame,
                 v6 ? "IPv6" : "IPv4", overhead(v6));
    return 0;
  }
  return static_cast<uint16_t>(frame - overhead(v6));
}

// The mix is of IPv4's sizes; over IPv6 its smallest is the smallest there.
void set_imix(bool v6, Traffic& out, Problems& problems) {
  out.label = "imix";
  for (uint32_t f : kImixFrames) {
    const auto smallest =
        static_cast<uint32_t>(overhead(v6) + (out.seal == wire::Seal::kHeader ? kTrailerSize : 0));
    out.payloads.push_back(payload_of(std::max(f, smallest), v6, problems));
  }
}

}  // namespace

double read_rate(const std::string& text, const char* option, Problems& problems) {
  if (text == "max") return 0;
  char* end = nullptr;
  double value = std::strtod(text.c_str(), &end);
  const std::string unit = end;
  if (unit == "k") value *= 1e3;
  if (unit == "M") value *= 1e6;
  if ((unit != "" && unit != "k" && unit != "M") || !(value > 0) || value > 1e9) {
    problems.add("{} {} is no rate: packets a second, e.g. 50000, 250k, 1.5M, or max", option,
                 text);
    return 1;
  }
  return value;
}

void read_floods(const RawOptions& raw, Traffic& out, Problems& problems) {
  for (const auto& text : raw.floods) {
    const size_t colon = text.find(':');
    const std::string kind = text.substr(0, colon);
    const auto found = std::find(std::begin(kFloodNames), std::end(kFloodNames), kind);
    if (found == std::end(kFloodNames) || colon == std::string::npos) {
      problems.add("--flood {} is not KIND:RATE with one of {} and a rate, e.g. unknown:200k", text,
                   "random, forged, forged-away, replay, unknown, hello, badmac");
      continue;
    }
    const auto same = [&](const Flood& f) { return kind == name(f.kind); };
    if (std::any_of(out.floods.begin(), out.floods.end(), same)) {
      problems.add("--flood {} stands twice: add up their rates", kind);
    }
    out.floods.push_back({static_cast<FloodKind>(found - std::begin(kFloodNames)),
                          read_rate(text.substr(colon + 1), "--flood", problems)});
  }
  out.flood_from = raw.flood_from;
  out.flood_until = raw.flood_until;
  if (out.flood_until != 0 && out.flood_until <= out.flood_from) {
    problems.add("--flood-until {} is not after --flood-from {}", out.flood_until, out.flood_from);
  }
}

void read_traffic(const RawOptions& raw, Traffic& out, Problems& problems) {
  if (raw.seal != "full" && raw.seal != "header") {
    problems.add("--seal {} is not full or header", raw.seal);
  }
  out.seal = raw.seal == "header" ? wire::Seal::kHeader : wire::Seal::kFull;
  if (raw.order != "random" && raw.order != "round") {
    problems.add("--order {} is not random or round", raw.order);
  }
  out.order = raw.order == "round" ? Order::kRound : Order::kRandom;
  if (raw.open == "all") {
    out.open_every = 1;
  } else if (raw.open == "none") {
    out.open_every = 0;
  } else {
    const int every = raw.open.starts_with("1/") ? std::atoi(raw.open.c_str() + 2) : 0;
    if (every < 1) problems.add("--open {} is not all, none or a share like 1/64", raw.open);
    out.open_every = static_cast<uint32_t>(std::max(every, 0));
  }
  if (raw.probe > 1'000'000'000) problems.add("--probe {} is too large", raw.probe);
  out.probe_every = raw.probe < 0 ? 0 : static_cast<uint32_t>(raw.probe);
  out.presealed = raw.presealed;
  out.dry = raw.dry;
  if (raw.presealed > 4'000'000) {
    problems.add("--presealed {}: 4000000 are the most, they all stand in memory", raw.presealed);
  }
}

void read_size(const RawOptions& raw, bool v6, Traffic& out, Problems& problems) {
  if ((raw.frame != 0) + (raw.payload >= 0) + raw.imix > 1) {
    problems.add("--frame, --payload and --imix exclude each other: give one");
  }
  if (raw.imix) return set_imix(v6, out, problems);
  if (raw.payload >= 0) {
    problems.range("--payload", double(raw.payload), 0, 9000);
    out.payloads = {static_cast<uint16_t>(raw.payload)};
  } else {
    out.payloads = {payload_of(raw.frame != 0 ? raw.frame : 512, v6, problems)};
  }
  out.label = std::to_string(out.payloads[0] + overhead(v6));
}

void read_frames(const RawOptions& raw, bool v6, const Traffic& common, std::vector<Traffic>& out,
                 Problems& problems) {
  std::string list = raw.frames;
  if (list.empty()) {
    const auto smallest =
        overhead(v6) + (common.seal == wire::Seal::kHeader ? kTrailerSize : size_t{0});
    list = std::to_string(smallest);
    for (size_t f : {128, 256, 512, 1024, 1280, 1518}) {
      if (f > smallest) list += "," + std::to_string(f);
    }
    list += ",imix";
  }
  for (size_t at = 0; at <= list.size();) {
    const size_t comma = std::min(list.find(',', at), list.size());
    const std::string item = list.substr(at, comma - at);
    at = comma + 1;
    Traffic t = common;
    if (item == "imix") {
      set_imix(v6, t, problems);
    } else {
      t.payloads = {payload_of(static_cast<uint32_t>(std::atoi(item.c_str())), v6, problems)};
      t.label = item;
    }
    out.push_back(t);
  }
}

void check_sizes(const Traffic& t, bool v6, uint16_t mtu, Problems& problems) {
  for (uint16_t p : t.payloads) {
    if (payload_fits(p, t.seal, v6, mtu)) continue;
    if (t.seal == wire::Seal::kHeader && p < kTrailerSize) {
      problems.add("a payload of {} bytes: the header seal needs {}, a frame of {}", p,
                   kTrailerSize, overhead(v6) + kTrailerSize);
    } else {
      problems.add("a frame of {} bytes does not fit the MTU of {}", p + overhead(v6), mtu);
    }
    return;
  }
}

}  // namespace sluice::pktgen
