// The sessions of a key log, found by the numbers that their packets carry. Keys are wiped when it
// goes. One thread.
#pragma once

#include <deque>
#include <map>
#include <string>
#include <vector>

#include "base/error.h"
#include "crypto/key_log.h"

namespace sluice::capture {

class KeyStore {
 public:
  // kPermission: others can read the file. kKeyFile: it has no key.
  static Result<KeyStore> load(const std::string& path);

  // Numbers come again in the course of time: the latest keys first, nothing where there are none.
  using Keys = std::vector<const crypto::KeyLogDirection*>;
  const Keys& find(crypto::KeyLogKind kind, uint32_t id) const;

  size_t sessions(crypto::KeyLogKind kind) const { return sessions_[size_t(kind)]; }
  size_t ignored_lines() const { return ignored_; }

 private:
  void add(crypto::KeyLogEntry entry);

  std::deque<crypto::KeyLogEntry> entries_;  // stay where they are
  std::map<std::pair<crypto::KeyLogKind, uint32_t>, Keys> by_id_;
  size_t sessions_[2] = {};
  size_t ignored_ = 0;
};

}  // namespace sluice::capture
