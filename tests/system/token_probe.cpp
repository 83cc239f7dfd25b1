// A TokenKeeper for tests/system/oauth2_test.py, with a program's ends in place of the relay:
// orders come as lines of JSON on standard input, what it finds goes to standard output.
//   {"key":1,"fields":[[32,HEX],…]}   set; without "fields" remove
//   {"key":1,"content":[[1,"Authorization"],…],"expires":MS}
//   {"key":1,"reason":"…","retry_at":MS}
#include <poll.h>
#include <unistd.h>

#include <cstdio>
#include <deque>
#include <iostream>
#include <mutex>
#include <string>

#include <nlohmann/json.hpp>

#include "crypto/secret.h"
#include "crypto/text.h"
#include "oauth2/token_keeper.h"
#include "wire/credential.h"

namespace {

using namespace sluice;
using nlohmann::json;

void say(const json& line) {
  std::cout << line.dump() << std::endl;
}

json content_of(const crypto::SecretBuffer& content) {
  json out = json::array();
  wire::CredentialReader reader(content.view());
  wire::CredentialPart part;
  while (reader.next(part)) out.push_back({int(part.type), std::string(as_text(part.bytes))});
  return out;
}

crypto::SecretBuffer record_of(const json& fields) {
  crypto::SecretBuffer text(64u << 10);
  MutBytes rest = text.bytes();
  for (const auto& f : fields) {
    // The bits are turned round: what a search of this memory finds later is the keeper's.
    const auto turned = *crypto::from_hex(f[1].get_ref<const std::string&>());
    crypto::SecretBuffer value(turned);
    for (uint8_t& byte : value.bytes()) byte = static_cast<uint8_t>(~byte);
    rest = wire::write_credential_field(rest, wire::CredentialField(f[0].get<int>()), value.view());
  }
  return crypto::SecretBuffer(text.view().first(text.size() - rest.size()));
}

// What was posted to this thread, and a pipe that wakes it.
class Posted {
 public:
  Posted() {
    if (pipe(ends_) != 0) std::abort();
  }
  int descriptor() const { return ends_[0]; }
  void add(std::function<void()> task) {
    const std::lock_guard lock(mutex_);
    tasks_.push_back(std::move(task));
    if (write(ends_[1], "x", 1) != 1) std::abort();
  }
  void run_one() {
    char byte;
    if (read(ends_[0], &byte, 1) != 1) return;
    std::function<void()> task;
    {
      const std::lock_guard lock(mutex_);
      task = std::move(tasks_.front());
      tasks_.pop_front();
    }
    task();
  }

 private:
  int ends_[2];
  std::mutex mutex_;
  std::deque<std::function<void()>> tasks_;
};

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2 || !crypto::init()) return 2;
  Posted posted;
  oauth2::TokenEvents events;
  events.on_token = [](uint64_t key, const crypto::SecretBuffer& content, int64_t expires) {
    say({{"key", key}, {"content", content_of(content)}, {"expires", expires}});
  };
  events.on_failure = [](uint64_t key, const std::string& reason, int64_t retry_at) {
    say({{"key", key}, {"reason", reason}, {"retry_at", retry_at}});
  };
  auto keeper = oauth2::TokenKeeper::start(
      [&posted](std::function<void()> task) { posted.add(std::move(task)); }, events,
      {.connect_ms = 1'000, .whole_ms = std::stol(argv[1])});
  if (!keeper) return 1;
  for (std::string input;;) {
    pollfd both[2] = {{STDIN_FILENO, POLLIN, 0}, {posted.descriptor(), POLLIN, 0}};
    if (poll(both, 2, -1) < 0) return 1;
    if (both[1].revents != 0) posted.run_one();
    if (both[0].revents == 0) continue;
    char piece[4'096];
    const ssize_t n = read(STDIN_FILENO, piece, sizeof piece);
    if (n <= 0) return 0;
    input.append(piece, size_t(n));
    for (size_t end = input.find('\n'); end != std::string::npos; end = input.find('\n')) {
      const json order = json::parse(input.substr(0, end));
      input.erase(0, end + 1);
      const uint64_t key = order["key"].get<uint64_t>();
      if (order.contains("fields")) {
        (*keeper)->set(key, record_of(order["fields"]));
      } else {
        (*keeper)->remove(key);
      }
    }
  }
}
