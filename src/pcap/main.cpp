// sluice-pcap: the command line.
#include <cstdio>
#include <exception>
#include <new>

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include "base/process.h"
#include "base/self_description.h"
#include "crypto/aead.h"
#include "pcap/commands.h"

namespace {

using namespace sluice;
using namespace sluice::capture;

int report(const Error& e) {
  fmt::print(stderr, "sluice-pcap: {}\n", e.message);
  return info(e.code).exit_code;
}

int finish(const Result<int>& result) {
  return result ? *result : report(result.error());
}

int run(int argc, char** argv) {
  CLI::App app(
      "Captures of Sluice's tunnel: shows what is in them, and opens what an agent's key log has "
      "keys for.",
      "sluice-pcap");
  app.set_version_flag("--version", SLUICE_VERSION);
  app.require_subcommand(1);
  app.footer(
      "First steps:\n"
      "  tcpdump -i eth0 -s 0 -w tunnel.pcap udp port 7600\n"
      "  sluice-pcap show tunnel.pcap\n"
      "  sluice-agent up --keylog keys.txt                 while the capture runs\n"
      "  sluice-pcap decrypt keys.txt tunnel.pcap clear.pcap\n"
      "  wireshark -X lua_script:config/wireshark/sluice.lua clear.pcap\n"
      "Only agents write key logs: a relay cannot read what it forwards (docs/capture.md).");

  DecryptCommand decrypt;
  auto* decrypting =
      app.add_subcommand("decrypt", "Copy a capture with what can be opened in clear");
  decrypting->add_option("KEYLOG", decrypt.key_log, "What sluice-agent up --keylog has written")
      ->type_name("FILE")
      ->required();
  decrypting->add_option("IN", decrypt.in, "A capture, pcap or pcapng; -: standard input")
      ->type_name("FILE")
      ->required();
  decrypting->add_option("OUT", decrypt.out, "A new file, pcap; -: standard output")
      ->type_name("FILE")
      ->required();
  decrypting->add_option("--port", decrypt.port, "The relay's UDP port (default: 7600)");
  decrypting->add_flag("--json", decrypt.json, "Print the summary as JSON");
  decrypting->footer(
      "Packets that cannot be opened are copied as they are, and counted. What was opened has the "
      "top bit of its\ntype set, which nothing on a wire has; sizes and places stay. Credentials "
      "of the relay's vault are blanked.\nExit code 5 when nothing at all could be opened.\n"
      "Example:  sluice-pcap decrypt keys.txt tunnel.pcap clear.pcap");

  ShowCommand show;
  auto* showing = app.add_subcommand("show", "Print a line for each packet of the tunnel");
  showing->add_option("IN", show.in, "A capture, pcap or pcapng; -: standard input")
      ->type_name("FILE")
      ->required();
  showing->add_option("--port", show.port, "The relay's UDP port (default: 7600)");
  showing->add_flag("--json", show.json, "Print a JSON object for each, with every field");
  showing->footer(
      "What is wrong with a packet stands in brackets (docs/capture.md lists the words).\n"
      "Example:  sluice-pcap show --json clear.pcap | jq 'select(.\"deny.reason\")'");

  const SelfDescription description(app, {.summary = "shows and opens captures of Sluice's tunnel",
                                          .files = {},
                                          .see_also = {"sluice-agent(1)", "sluiced(8)"}});
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    if (e.get_exit_code() == 0) return app.exit(e);  // help and version
    return report({ErrorCode::kUsage, fmt::format("{}; see: sluice-pcap --help", e.what())});
  }
  if (const auto code = description.run()) return *code;
  if (showing->parsed()) return finish(run_show(show));
  if (!crypto::init() || !crypto::aead().usable()) {
    return report({ErrorCode::kResource, "this CPU lacks AES-NI, which the tunnel needs"});
  }
  return finish(run_decrypt(decrypt));
}

}  // namespace

int main(int argc, char** argv) {
  harden_process();  // it holds keys
  try {
    return run(argc, argv);
  } catch (const std::bad_alloc&) {
    return report({ErrorCode::kResource, "no more memory may be locked for keys: ulimit -l"});
  } catch (const std::exception& e) {
    return report({ErrorCode::kInternal, e.what()});
  }
}
