#include "oauth2/token_keeper.h"

#include <chrono>
#include <map>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include <fmt/format.h>

#include "base/thread.h"
#include "crypto/secret.h"
#include "oauth2/schedule.h"
#include "oauth2/token_answer.h"

namespace sluice::oauth2 {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;
using std::chrono::system_clock;

constexpr uint64_t kNotByTime = ~uint64_t{0};
constexpr int kLongestWaitMs = 3'600'000;

uint64_t mono_ms() {
  return uint64_t(
      std::chrono::duration_cast<milliseconds>(steady_clock::now().time_since_epoch()).count());
}
int64_t unix_ms() {
  return std::chrono::duration_cast<milliseconds>(system_clock::now().time_since_epoch()).count();
}

}  // namespace

// What the two threads share, and what is the keeper's thread's alone.
struct TokenKeeper::Parts : std::enable_shared_from_this<TokenKeeper::Parts> {
  struct Order {
    uint64_t key;
    uint64_t number;                             // of the set() that it belongs to
    std::optional<crypto::SecretBuffer> record;  // none: remove
  };
  struct Entry {
    uint64_t number = 0;
    std::unique_ptr<ClientRecord> record;
    std::unique_ptr<TokenFlight> flight;
    int64_t asked_unix_ms = 0;
    uint64_t due_ms = 0;  // mono
    RetryPace pace;
  };

  Post post;
  TokenEvents events;
  FlightLimits limits;
  http::CurlMulti multi;
  std::thread thread;

  // The owner's: whom what is posted is still for.
  std::map<uint64_t, uint64_t> numbers;
  uint64_t last_number = 0;

  std::mutex mutex;
  std::vector<Order> orders;
  bool stopping = false;

  std::map<uint64_t, Entry> entries;  // the keeper's thread's

  void give(Order order);
  bool take_orders();
  void run();
  void begin(uint64_t key, Entry& entry);
  void finish(CURL* handle, CURLcode code);
  void land(uint64_t key, Entry& entry, CURLcode code);
  void failed(uint64_t key, Entry& entry, const AnswerFailure& failure, uint64_t asked_ms);
  template <typename Tell>
  void tell(uint64_t key, uint64_t number, Tell tell);
};

void TokenKeeper::Parts::give(Order order) {
  {
    const std::lock_guard lock(mutex);
    orders.push_back(std::move(order));
  }
  curl_multi_wakeup(multi.get());
}

// False: it is over.
bool TokenKeeper::Parts::take_orders() {
  std::vector<Order> taken;
  {
    const std::lock_guard lock(mutex);
    if (stopping) return false;
    taken.swap(orders);
  }
  for (Order& order : taken) {
    if (const auto it = entries.find(order.key); it != entries.end()) {
      if (it->second.flight) curl_multi_remove_handle(multi.get(), it->second.flight->handle());
      entries.erase(it);
    }
    if (!order.record) continue;
    Entry& entry = entries[order.key];
    entry.number = order.number;
    auto record = ClientRecord::parse(std::move(*order.record));
    std::string wrong = record ? "" : record.error().message;
    if (record && !is_token_url(record->url)) {
      wrong =
          "the record has a token endpoint that is no https:// URL; set it anew with sluicectl "
          "credential set";
    }
    if (!wrong.empty()) {
      entry.due_ms = kNotByTime;
      tell(order.key, order.number,
           [wrong](const TokenEvents& e, uint64_t key) { e.on_failure(key, wrong, 0); });
      continue;
    }
    entry.record = std::make_unique<ClientRecord>(std::move(*record));
    entry.due_ms = mono_ms();
  }
  return true;
}

// On the owner's thread, unless the key has another record by then.
template <typename Tell>
void TokenKeeper::Parts::tell(uint64_t key, uint64_t number, Tell tell) {
  post([weak = weak_from_this(), key, number, tell = std::move(tell)] {
    const auto self = weak.lock();
    if (!self) return;
    const auto it = self->numbers.find(key);
    if (it != self->numbers.end() && it->second == number) tell(self->events, key);
  });
}

void TokenKeeper::Parts::run() {
  while (take_orders()) {
    const uint64_t now = mono_ms();
    uint64_t next = kNotByTime;
    for (auto& [key, entry] : entries) {
      if (!entry.flight && entry.due_ms <= now) begin(key, entry);
      if (!entry.flight) next = std::min(next, entry.due_ms);
    }
    int running = 0;
    curl_multi_perform(multi.get(), &running);
    int left = 0;
    bool landed = false;
    while (const CURLMsg* m = curl_multi_info_read(multi.get(), &left)) {
      if (m->msg != CURLMSG_DONE) continue;
      finish(m->easy_handle, m->data.result);
      landed = true;
    }
    if (landed) continue;
    const uint64_t wait = next == kNotByTime ? kLongestWaitMs : next > now ? next - now : 0;
    curl_multi_poll(multi.get(), nullptr, 0, int(std::min<uint64_t>(wait, kLongestWaitMs)),
                    nullptr);
  }
  for (auto& [key, entry] : entries) {
    if (entry.flight) curl_multi_remove_handle(multi.get(), entry.flight->handle());
  }
  entries.clear();
}

void TokenKeeper::Parts::begin(uint64_t, Entry& entry) {
  entry.flight = std::make_unique<TokenFlight>(*entry.record, limits);
  entry.asked_unix_ms = unix_ms();
  curl_multi_add_handle(multi.get(), entry.flight->handle());
}

void TokenKeeper::Parts::finish(CURL* handle, CURLcode code) {
  curl_multi_remove_handle(multi.get(), handle);
  for (auto& [key, entry] : entries) {
    if (!entry.flight || entry.flight->handle() != handle) continue;
    land(key, entry, code);
    entry.flight.reset();
    return;
  }
}

void TokenKeeper::Parts::land(uint64_t key, Entry& entry, CURLcode code) {
  const TokenFlight& flight = *entry.flight;
  if (flight.too_large()) {
    return failed(
        key, entry,
        {fmt::format("answers with more than {} KiB", TokenFlight::kMostBytes >> 10), false}, 0);
  }
  if (code != CURLE_OK) {
    return failed(key, entry, {fmt::format("cannot be asked: {}", http::describe(code)), false}, 0);
  }
  auto token = read_answer(flight.status(), flight.body());
  if (!token) return failed(key, entry, token.error(), flight.retry_after_ms());
  auto content =
      std::make_shared<crypto::SecretBuffer>(entry.record->with_token(as_text(token->text.view())));
  if (content->empty()) {
    return failed(key, entry,
                  {fmt::format("gives a token with which the credential is larger than {} bytes",
                               wire::kCredentialMax),
                   true},
                  0);
  }
  entry.pace.succeeded();
  const uint64_t life_ms = token->life_s * 1000;
  const int64_t expires = entry.asked_unix_ms + int64_t(life_ms);
  entry.due_ms = mono_ms() + refresh_after_ms(life_ms);
  tell(key, entry.number, [content, expires](const TokenEvents& e, uint64_t of) {
    e.on_token(of, std::move(*content), expires);
  });
}

void TokenKeeper::Parts::failed(uint64_t key, Entry& entry, const AnswerFailure& failure,
                                uint64_t asked_ms) {
  const uint64_t pause = entry.pace.next(failure.lasting, asked_ms, crypto::random_u64());
  entry.due_ms = mono_ms() + pause;
  tell(key, entry.number,
       [reason = "the token endpoint " + failure.reason, again = unix_ms() + int64_t(pause)](
           const TokenEvents& e, uint64_t of) { e.on_failure(of, reason, again); });
}

Result<std::unique_ptr<TokenKeeper>> TokenKeeper::start(Post post, TokenEvents events,
                                                        FlightLimits limits) {
  if (auto ok = http::init_curl(); !ok) return tl::unexpected(ok.error());
  auto parts = std::make_shared<Parts>();
  parts->post = std::move(post);
  parts->events = std::move(events);
  parts->limits = limits;
  parts->multi.reset(curl_multi_init());
  if (!parts->multi)
    return fail(ErrorCode::kResource, "libcurl cannot start: there is no memory left");
  // Not a shared pointer: whoever runs does not keep alive what is waited for.
  parts->thread = start_thread("sluice-tokens", [p = parts.get()] { p->run(); });
  return std::unique_ptr<TokenKeeper>(new TokenKeeper(std::move(parts)));
}

TokenKeeper::TokenKeeper(std::shared_ptr<Parts> parts) : parts_(std::move(parts)) {}

TokenKeeper::~TokenKeeper() {
  {
    const std::lock_guard lock(parts_->mutex);
    parts_->stopping = true;
  }
  curl_multi_wakeup(parts_->multi.get());
  parts_->thread.join();
  parts_->numbers.clear();
}

void TokenKeeper::set(uint64_t key, crypto::SecretBuffer record) {
  const uint64_t number = ++parts_->last_number;
  parts_->numbers[key] = number;
  parts_->give({key, number, std::move(record)});
}

void TokenKeeper::remove(uint64_t key) {
  parts_->numbers.erase(key);
  parts_->give({key, 0, std::nullopt});
}

}  // namespace sluice::oauth2
