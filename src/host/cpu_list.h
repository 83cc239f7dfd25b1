// Lists of CPUs as the kernel writes them (Documentation/admin-guide/cputopology.rst): "0-3,8".
#pragma once

#include <set>
#include <string>
#include <string_view>

namespace sluice::host {

// What is no list, or not wholly one, is read as far as it is one.
std::set<unsigned> parse_cpu_list(std::string_view text);

// The shortest text that says it; "none" for none.
std::string cpu_list_text(const std::set<unsigned>& cpus);

}  // namespace sluice::host
