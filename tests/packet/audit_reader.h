// What the audit log in a folder has published, checked as an outsider would: nothing before its
// first checkpoint.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <vector>

#include "audit/check.h"
#include "audit/log.h"
#include "base/file.h"

namespace rig {

inline std::vector<sluice::audit::Record> published_records(const std::string& folder) {
  namespace audit = sluice::audit;
  if (!std::filesystem::exists(folder + "/checkpoint")) return {};
  audit::FolderSource source(folder);
  const auto text = sluice::read_file(audit::verifier_path(folder));
  EXPECT_TRUE(text);
  std::vector<audit::Record> out;
  const auto head = audit::check_log(
      source, *audit::Verifier::parse(*text),
      {.earlier = {}, .progress = {}, .record = [&](uint64_t, const audit::Record& rec) {
         out.push_back(rec);
       }});
  EXPECT_TRUE(head) << head.error().message;
  return out;
}

}  // namespace rig
