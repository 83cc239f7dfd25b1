// Puts asterisks in the place of secrets that stand in an answer, over the edges of its pieces and
// without a change of its length. It looks for the very bytes, for their percent-encoded forms and
// for how JSON writes them; what is compressed or encoded otherwise it does not see.
// One thread.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "crypto/secret_text.h"

namespace sluice::agent {

class Redactor {
 public:
  // Shorter ones stand in other text by chance.
  static constexpr size_t kShortest = 8;

  Redactor() = default;
  Redactor(Redactor&&) = default;
  Redactor& operator=(Redactor&&) = default;
  ~Redactor();
  // `hold`: of a secret that has begun at the end of what came, so many bytes are enough to wait
  // for the rest; fewer leave at once, so that a dialogue does not stand still.
  void hold_from(size_t bytes) { hold_ = bytes; }
  void add(std::string_view secret);
  // Of `Authorization: Basic`: user and password, and the password.
  void add_basic(std::string_view base64);
  bool idle() const { return forms_.empty(); }

  // Of what is whole. True: there was something.
  bool redact(MutBytes whole) const;
  // Of what comes in pieces: what may leave is appended to `out`.
  void push(Bytes piece, std::string& out);
  void finish(std::string& out);

 private:
  struct Form {
    size_t at, size;  // in text_
  };
  std::string_view text_of(const Form& form) const {
    return text_.view().substr(form.at, form.size);
  }
  void keep(size_t from);
  void mark(std::string_view text, std::string& marks) const;

  crypto::SecretText text_;
  std::vector<Form> forms_;
  size_t hold_ = 1;
  // The end of what came: it may be the beginning of a secret.
  std::string tail_;
  std::string marks_;  // of each byte of the tail, whether it is to be covered
  size_t left_ = 0;    // bytes of the tail that have left already
};

}  // namespace sluice::agent
