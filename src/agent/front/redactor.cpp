#include "agent/front/redactor.h"

#include <algorithm>

#include "crypto/secret.h"

namespace sluice::agent {
namespace {

constexpr char kFiller = '*';

void write_json(crypto::SecretText& out, std::string_view text, bool slashes) {
  for (const char c : text) {
    if (c == '"' || c == '\\' || (slashes && c == '/')) out << '\\';
    out << c;
  }
}

}  // namespace

Redactor::~Redactor() {
  crypto::wipe(tail_.data(), tail_.size());
}

// The form that was written behind `from` counts unless it is there already.
void Redactor::keep(size_t from) {
  const Form form{from, text_.size() - from};
  const bool known = std::any_of(forms_.begin(), forms_.end(),
                                 [&](const Form& f) { return text_of(f) == text_of(form); });
  if (known || form.size < kShortest) {
    text_.cut(from);
  } else {
    forms_.push_back(form);
  }
}

void Redactor::add(std::string_view secret) {
  if (secret.size() < kShortest) return;
  size_t from = text_.size();
  text_ << secret;
  keep(from);
  for (const std::string_view digits : {"0123456789ABCDEF", "0123456789abcdef"}) {
    from = text_.size();
    text_.append_percent_encoded(secret, digits);
    keep(from);
  }
  for (const bool slashes : {false, true}) {
    from = text_.size();
    write_json(text_, secret, slashes);
    keep(from);
  }
}

void Redactor::add_basic(std::string_view base64) {
  crypto::SecretText pair;
  pair.append_from_base64(base64);
  add(pair.view());
  const size_t colon = pair.view().find(':');
  if (colon != std::string_view::npos) add(pair.view().substr(colon + 1));
}

void Redactor::mark(std::string_view text, std::string& marks) const {
  for (const Form& form : forms_) {
    const std::string_view secret = text_of(form);
    for (size_t at = text.find(secret); at != std::string_view::npos;
         at = text.find(secret, at + 1)) {
      std::fill_n(marks.begin() + std::ptrdiff_t(at), secret.size(), 1);
    }
  }
}

bool Redactor::redact(MutBytes whole) const {
  if (forms_.empty()) return false;
  std::string marks(whole.size(), 0);
  mark(as_text(whole), marks);
  bool any = false;
  for (size_t i = 0; i < whole.size(); ++i) {
    if (marks[i] == 0) continue;
    whole[i] = kFiller;
    any = true;
  }
  return any;
}

void Redactor::push(Bytes piece, std::string& out) {
  if (forms_.empty()) {
    out.append(as_text(piece));
    return;
  }
  tail_ += as_text(piece);
  const std::string_view text = tail_;
  marks_.resize(text.size(), 0);
  mark(text, marks_);
  // The longest beginning of a secret at the end of what came.
  size_t begun = 0;
  for (const Form& form : forms_) {
    const std::string_view secret = text_of(form);
    for (size_t n = std::min(secret.size() - 1, text.size()); n > begun; --n) {
      if (text.substr(text.size() - n) == secret.substr(0, n)) begun = n;
    }
  }
  const size_t kept = text.size() - begun;
  const size_t leaves = begun < hold_ ? text.size() : std::max(kept, left_);
  for (size_t i = left_; i < leaves; ++i) out += marks_[i] != 0 ? kFiller : text[i];
  left_ = leaves - kept;
  std::copy(text.begin() + std::ptrdiff_t(kept), text.end(), tail_.begin());
  crypto::wipe(tail_.data() + begun, kept);
  tail_.resize(begun);
  marks_.erase(0, kept);
}

void Redactor::finish(std::string& out) {
  const std::string_view text = tail_;
  for (size_t i = left_; i < text.size(); ++i) out += marks_[i] != 0 ? kFiller : text[i];
  crypto::wipe(tail_.data(), tail_.size());
  tail_.clear();
  marks_.clear();
  left_ = 0;
}

}  // namespace sluice::agent
