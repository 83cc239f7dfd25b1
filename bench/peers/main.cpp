// peers_source: the traffic of the peers benchmark. Reads its configuration, connects both clients
// through the relay, proves that packets arrive whole, says so, and then runs one trial for each
// line on standard input.
#include <cstdio>
#include <fstream>
#include <iostream>
#include <map>
#include <stdexcept>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "bench/command_line.h"
#include "bench/peers/blaster.h"
#include "bench/peers/client.h"
#include "crypto/aead.h"

namespace sluice::bench {
namespace {

using nlohmann::json;

constexpr unsigned kProofs = 64;

HostConfig host_config(const json& h) {
  HostConfig out;
  out.netns = h.at("netns");
  out.device = h.at("device");
  out.mac = parse_mac(h.at("mac"));
  out.relay_mac = parse_mac(h.at("relay_mac"));
  out.address = parse_ip4(h.at("address"));
  out.relay_address = parse_ip4(h.at("relay_address"));
  out.port = h.at("port");
  return out;
}

std::unique_ptr<Client> make_client(const json& config, Bytes payload, Host& from, Host& to) {
  const std::map<std::string, ClientFactory*> kinds = {{"plain", make_plain_client},
                                                       {"sluice", make_sluice_client},
                                                       {"turn", make_turn_client},
                                                       {"wireguard", make_wireguard_client}};
  const auto kind = kinds.find(config.at("kind").get<std::string>());
  if (kind == kinds.end()) throw std::runtime_error("kind is plain, sluice, turn or wireguard");
  return kind->second(config, payload, from, to);
}

void say(const json& line) {
  fmt::print("{}\n", line.dump());
  std::fflush(stdout);
}

void serve(const json& config) {
  Host sender(host_config(config.at("sender")));
  Host receiver(host_config(config.at("receiver")));
  Buffer payload(config.at("payload").get<size_t>());
  for (size_t i = 0; i < payload.size(); ++i) payload[i] = static_cast<uint8_t>(i);
  const auto client = make_client(config, payload, sender, receiver);
  client->connect();
  Blaster blaster(*client, sender, receiver);
  const unsigned good = blaster.prove(kProofs);
  if (good < kProofs) {
    throw std::runtime_error(
        fmt::format("only {} of {} packets arrived whole and authentic", good, kProofs));
  }
  say({{"proved", good}});

  double rate = 0, seconds = 0;
  while (std::cin >> rate >> seconds) {
    const Trial t = blaster.run(rate, seconds);
    say({{"seconds", t.seconds},
         {"sent", t.sent},
         {"delivered", t.delivered},
         {"sent_all", t.sent_all},
         {"delivered_all", t.delivered_all}});
  }
}

}  // namespace
}  // namespace sluice::bench

int main(int argc, char** argv) {
  sluice::bench::CommandLine app{
      "Traffic for `scripts/bench peers`: connects two clients through a relay, proves that "
      "packets "
      "arrive, then for each line `RATE SECONDS` on standard input (rate 0: as fast as it goes) "
      "runs a trial and prints its counts as one line of JSON."};
  std::string path;
  app.add_option("config", path, "JSON file that bench/peers.py writes").required();
  if (const auto done = app.parse(argc, argv)) return *done;
  try {
    if (!sluice::crypto::init() || !sluice::crypto::aead().usable()) {
      throw std::runtime_error("this CPU lacks AES-NI");
    }
    std::ifstream file(path);
    if (!file) throw std::runtime_error(path + " cannot be read");
    sluice::bench::serve(nlohmann::json::parse(file));
    return 0;
  } catch (const std::exception& error) {
    fmt::print(stderr, "error: {}\n", error.what());
    return 1;
  }
}
