// A table for people: columns as wide as they need, numbers to the right. No state.
#pragma once

#include <string>
#include <vector>

namespace sluice::cli {

struct Column {
  std::string title;
  bool right = false;
};

std::string format_table(const std::vector<Column>& columns,
                         const std::vector<std::vector<std::string>>& rows);

std::string with_unit_us(double us);        // 12.3 us, 4.56 ms, 7.8 s, 59 min, 30.0 d
std::string with_unit_bytes(double bytes);  // 512 B, 1.2 MiB
std::string grouped(uint64_t n);            // 1,234,567

}  // namespace sluice::cli
