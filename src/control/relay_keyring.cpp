#include "control/relay_keyring.h"

#include <unistd.h>

#include <fmt/format.h>

#include "base/file.h"
#include "base/log.h"
#include "control/store_files.h"
#include "crypto/cookie.h"
#include "crypto/hash.h"
#include "crypto/text.h"

namespace sluice::control {

RelayKeyring::RelayKeyring(RelayKeys& keys, std::string state_dir, const Clock& clock,
                           fabric::Arena& arena, Store& store)
    : keys_(keys), state_dir_(std::move(state_dir)), clock_(clock), arena_(arena), store_(store) {
  if (all_zero(keys_.id)) keys_.id = keys_.tunnel.public_key;
  publish();
}

// --- What is in force ---------------------------------------------------------------------------

// Workers check mac1 with every key that stands here.
void RelayKeyring::publish() {
  fabric::RelayRecord& r = arena_.relay();
  r.mac1[0].set(crypto::mac1_key(keys_.tunnel.public_key));
  if (keys_.previous) {
    r.mac1[1].set(crypto::mac1_key(keys_.previous->pair.public_key));
  } else {
    r.mac1[1].clear();
  }
}

const crypto::X25519KeyPair* RelayKeyring::addressed(const wire::HelloView& hello) const {
  // A worker has checked it against the one key that there is.
  if (!keys_.previous) return &keys_.tunnel;
  for (const crypto::X25519KeyPair* pair : {&keys_.tunnel, &keys_.previous->pair}) {
    const auto mac = crypto::blake2b_128(crypto::mac1_key(pair->public_key), {hello.before_mac1()});
    if (crypto::equal_secret(mac, hello.mac1())) return pair;
  }
  return nullptr;
}

Result<crypto::X25519KeyPair> RelayKeyring::read(const ByteArray<32>& key) const {
  const std::string path = later_key_path(state_dir_, key);
  auto pair = read_tunnel_key(path);
  if (!pair && exists(path)) return pair;
  if (!pair || pair->public_key != key) {
    return fail(ErrorCode::kKeyFile,
                fmt::format("the relay's key {} was made later than the first one, and {} does not "
                            "hold it: copy that file there from where it was made",
                            crypto::to_base64url(key), path));
  }
  return pair;
}

Result<void> RelayKeyring::take_up(const std::vector<RelayKeyRow>& rows) {
  if (rows.empty()) return {};
  const RelayKeyRow& last = rows.back();
  auto current = read(last.key);
  if (!current) return tl::unexpected(current.error());
  std::optional<RelayKeys::Previous> previous;
  if (last.replaced_until_ms > clock_.unix_ms()) {
    // The first one is where the configuration says.
    const bool at_hand = keys_.tunnel.public_key == last.replaced;
    auto pair = at_hand ? Result<crypto::X25519KeyPair>(keys_.tunnel.clone()) : read(last.replaced);
    if (pair) {
      previous = {std::move(*pair), last.replaced_until_ms};
    } else {
      spdlog::warn("the relay's key before, {}, cannot be answered: its file is gone",
                   crypto::to_base64url(last.replaced));
    }
  }
  keys_.id = rows.front().replaced;
  keys_.tunnel = std::move(*current);
  keys_.previous = std::move(previous);
  keys_.change = last;
  publish();
  return {};
}

Result<void> RelayKeyring::restore(const Snapshot& snapshot) {
  if (auto ok = take_up(snapshot.relay_keys); !ok) return ok;
  if (all_zero(keys_.tunnel.public_key)) {
    return fail(ErrorCode::kKeyFile,
                "there is no file at relay.key_file, and the store knows of no later key: put the "
                "relay's key back");
  }
  leave_public_text();
  // What a stop or a full disk came in between of.
  for (const RelayKeyRow& row : snapshot.relay_keys) {
    const bool in_use = keys_.previous && keys_.previous->pair.public_key == row.replaced;
    if (!in_use) forget(row.replaced);
  }
  return {};
}

void RelayKeyring::reconcile(const Snapshot& snapshot) {
  found_ = snapshot.relay_keys;
  if (!writing_) take_up_found();
}

// What a transaction that failed has written all the same.
void RelayKeyring::take_up_found() {
  const std::vector<RelayKeyRow> rows = std::exchange(found_, {});
  const uint64_t known = keys_.change ? keys_.change->number : 0;
  if (rows.empty() || rows.back().number <= known) return;
  if (auto ok = take_up(rows); !ok) {
    spdlog::error("a key of the relay is in the store and not in use: {}", ok.error().message);
    return;
  }
  leave_public_text();
  if (tell_) tell_();
}

// --- Changes ------------------------------------------------------------------------------------

void RelayKeyring::replace(uint64_t overlap_ms, const std::string& actor, Done done) {
  if (writing_) return done(fail(ErrorCode::kConflict, "the relay's key is being changed already"));
  if (keys_.previous) {
    return done(fail(ErrorCode::kConflict,
                     "the key before this one is still answered, and a third is too many: wait for "
                     "its end, or end it with sluicectl relay retire-key"));
  }
  writing_ = true;
  // Agents believe the later issued, whatever the clock did meanwhile.
  const uint64_t now = clock_.unix_ms();
  const uint64_t told = keys_.change ? std::max(now, keys_.change->told_ms + 1) : now;
  auto pair = std::make_shared<crypto::X25519KeyPair>(crypto::X25519KeyPair::generate());
  const RelayKeyRow row{.number = keys_.change ? keys_.change->number + 1 : 1,
                        .key = pair->public_key,
                        .replaced = keys_.tunnel.public_key,
                        .told_ms = told,
                        .replaced_until_ms = now + std::min(overlap_ms, kLongestOverlapMs)};
  const std::string path = later_key_path(state_dir_, row.key);
  store_.beside([path, pair] { return write_tunnel_key(path, *pair); },
                [this, pair, row, actor, done = std::move(done)](const Result<void>& written) {
                  if (!written) {
                    writing_ = false;
                    take_up_found();
                    return done(tl::unexpected(written.error()));
                  }
                  store_.apply({actor, row.told_ms, {row}},
                               [this, pair, row, done](const Result<WriteTimes>& r) {
                                 writing_ = false;
                                 // The file stays: the row may still turn out to be on disk.
                                 if (!r) {
                                   take_up_found();
                                   return done(tl::unexpected(r.error()));
                                 }
                                 found_.clear();
                                 put_in_force(std::move(*pair), row);
                                 done({});
                               });
                });
}

void RelayKeyring::put_in_force(crypto::X25519KeyPair pair, const RelayKeyRow& row) {
  keys_.previous = RelayKeys::Previous{std::move(keys_.tunnel), row.replaced_until_ms};
  keys_.tunnel = std::move(pair);
  keys_.change = row;
  retired_ = false;
  publish();
  spdlog::warn("the relay's key is {} from now on; {} is answered until its time is over",
               crypto::to_base64url(row.key), crypto::to_base64url(row.replaced));
  leave_public_text();
  if (tell_) tell_();
}

void RelayKeyring::retire(const std::string& actor, Done done) {
  if (writing_) return done(fail(ErrorCode::kConflict, "the relay's key is being changed already"));
  if (!keys_.previous && !retired_) {
    return done(fail(ErrorCode::kNotFound, "no key but the one in use is answered"));
  }
  end_previous(actor, [done = std::move(done)](const Result<void>& r) {
    if (r) return done({});
    done(fail(ErrorCode::kNotDurable,
              "the key before is not answered any more, but that is not on disk: after a restart "
              "it is again, so repeat this: " +
                  r.error().message));
  });
}

// At once, whatever the disk says; and on disk, so that no clock brings it back.
void RelayKeyring::end_previous(const std::string& actor, Done done) {
  writing_ = true;
  RelayKeyRow& row = *keys_.change;
  if (keys_.previous) {
    spdlog::info("the relay's key {} is not answered any more", crypto::to_base64url(row.replaced));
    row.told_ms = std::max(clock_.unix_ms(), row.told_ms + 1);
    row.replaced_until_ms = 0;
    keys_.previous.reset();
    retired_ = true;
    publish();
    if (tell_) tell_();
  }
  store_.apply(
      {actor, row.told_ms, {RelayKeyRetired{row.number, row.replaced, row.told_ms}}},
      [this, replaced = row.replaced, done = std::move(done)](const Result<WriteTimes>& r) {
        writing_ = false;
        if (r) {
          retired_ = false;
          forget(replaced);
        }
        take_up_found();
        done(r.map([](WriteTimes) {}));
      });
}

bool RelayKeyring::poll() {
  if (!keys_.previous || keys_.previous->until_ms > clock_.unix_ms() || writing_) return false;
  end_previous("clock", [](const Result<void>& r) {
    if (!r)
      spdlog::warn("the end of an old key of the relay is not on disk: {}", r.error().message);
  });
  return true;
}

// --- Files beside the store ---------------------------------------------------------------------

// What sluiced --join prints; nothing while the first key is in use.
void RelayKeyring::leave_public_text() {
  const std::string text =
      keys_.change ? public_text(keys_.tunnel.public_key, keys_.id) + "\n" : std::string();
  store_.beside(
      [path = public_text_path(state_dir_), text]() -> Result<void> {
        if (!text.empty()) return write_file(path, as_bytes(text), 0644);
        if (unlink(path.c_str()) != 0 && errno != ENOENT) return system_error("remove", path);
        return {};
      },
      [](const Result<void>& r) {
        if (!r) spdlog::warn("sluiced --join will name an old key: {}", r.error().message);
      });
}

// Nobody is to find its secret on this disk; the first one's file is the operator's own.
void RelayKeyring::forget(const ByteArray<32>& key) {
  store_.beside(
      [path = later_key_path(state_dir_, key)]() -> Result<void> {
        if (unlink(path.c_str()) != 0 && errno != ENOENT) return system_error("remove", path);
        return {};
      },
      [](const Result<void>& r) {
        if (!r) spdlog::warn("an old key of the relay stays on disk: {}", r.error().message);
      });
}

}  // namespace sluice::control
