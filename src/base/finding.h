// What an examination found: a line for each thing looked at, with what helps. Both doctors speak
// through it. No state.
#pragma once

#include <span>
#include <string>

namespace sluice {

enum class Grade { kOk, kWarning, kFailed };

struct Finding {
  std::string check;  // one word
  Grade grade = Grade::kOk;
  std::string detail;
  std::string remedy;  // empty: none is needed
};

const char* name_of(Grade grade);
bool any_failed(std::span<const Finding> findings);

// To standard output, in colour on a terminal.
void print_findings(std::span<const Finding> findings);

// {"healthy", "findings": [{"check", "result", "detail", "remedy"}]}, by whichever JSON type.
template <typename Json>
Json findings_json(std::span<const Finding> findings) {
  Json list = Json::array();
  for (const Finding& f : findings) {
    list.push_back({{"check", f.check},
                    {"result", name_of(f.grade)},
                    {"detail", f.detail},
                    {"remedy", f.remedy.empty() ? Json(nullptr) : Json(f.remedy)}});
  }
  return {{"healthy", !any_failed(findings)}, {"findings", std::move(list)}};
}

}  // namespace sluice
