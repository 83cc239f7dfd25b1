// Known answers for tests: hex, and the folder of published vectors. The folder is named by the
// environment variable SLUICE_VECTORS, else it is shared/vectors beside the source tree. A test
// takes its sources as parameters: always "rfc", and the file where the folder is there; a folder
// without the file fails.
#pragma once

#include <cctype>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <ostream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "base/bytes.h"

namespace sluice::vectors {

inline constexpr const char* kRfc = "rfc";

inline Buffer unhex(std::string_view text) {
  const auto digit = [](char c) -> int {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    throw std::runtime_error("not a lower-case hex digit");
  };
  if (text.size() % 2 != 0) throw std::runtime_error("odd number of hex digits");
  Buffer out;
  for (size_t i = 0; i < text.size(); i += 2) {
    out.push_back(static_cast<uint8_t>(digit(text[i]) * 16 + digit(text[i + 1])));
  }
  return out;
}

// For layouts written by hand: blanks between the fields are allowed.
inline Buffer layout(std::string_view text) {
  std::string digits;
  for (char c : text) {
    if (c != ' ') digits.push_back(c);
  }
  return unhex(digits);
}

inline std::string hex(Bytes bytes) {
  static constexpr char digits[] = "0123456789abcdef";
  std::string out;
  for (uint8_t b : bytes) {
    out.push_back(digits[b >> 4]);
    out.push_back(digits[b & 15]);
  }
  return out;
}

template <size_t N>
ByteArray<N> unhex_array(std::string_view text) {
  const Buffer b = unhex(text);
  if (b.size() != N) throw std::runtime_error("hex of another length than expected");
  return take<N>(b.data());
}

inline std::filesystem::path folder() {
  if (const char* named = std::getenv("SLUICE_VECTORS"); named != nullptr) return named;
  if (const char* source = std::getenv("SLUICE_SOURCE_DIR"); source != nullptr) {
    return std::filesystem::path(source) / ".." / "shared" / "vectors";
  }
#ifdef SLUICE_SOURCE_DIR
  return std::filesystem::path(SLUICE_SOURCE_DIR) / ".." / "shared" / "vectors";
#else
  return {};
#endif
}

inline bool present() {
  std::error_code ignored;
  return !folder().empty() && std::filesystem::is_directory(folder(), ignored);
}

// Parameters of a known-answer suite.
inline std::vector<std::string> sources(const char* file) {
  if (present()) return {kRfc, file};
  static const bool said = [] {
    std::puts("published vectors not present: RFC vectors only");
    return true;
  }();
  static_cast<void>(said);
  return {kRfc};
}

inline std::string source_name(const testing::TestParamInfo<std::string>& info) {
  std::string out;
  for (char c : info.param) {
    if (std::isalnum(static_cast<unsigned char>(c)) != 0) out.push_back(c);
  }
  return out;
}

inline nlohmann::json load(const std::string& file) {
  std::ifstream in(folder() / file);
  if (!in) throw std::runtime_error("cannot read the published vectors " + file);
  return nlohmann::json::parse(in);
}

inline Buffer field(const nlohmann::json& object, const char* name) {
  return unhex(object.at(name).get<std::string>());
}

}  // namespace sluice::vectors
