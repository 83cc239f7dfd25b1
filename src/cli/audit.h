// sluicectl audit: reading, checking and proving the log of who did what.
#pragma once

#include <cstdint>
#include <string>

#include "cli/client.h"

namespace sluice::cli {

struct AuditOptions {
  std::string folder;    // of a log that is read without its relay; empty: ask the relay
  std::string verifier;  // its text, or a file that holds it; empty: as the log says of itself
  std::string tenant;
  std::string earlier;  // a checkpoint's file that the log must continue
  std::string proof;    // a file
  std::string out;      // a file; empty: standard output
  std::string state_dir = "/var/lib/sluice";
  uint64_t from = 0;
  uint64_t count = 20;
  uint64_t index = 0;
  bool follow = false;
  bool lost = false;  // begin-anew: there is no log any more
  bool jsonl = true;
  bool with_proofs = false;
};

int audit_status(const Client& client);
int audit_tail(const Client& client, const AuditOptions& options);
int audit_export(const Client& client, const AuditOptions& options);
int audit_verify(const Client& client, const AuditOptions& options);
int audit_prove(const Client& client, const AuditOptions& options);
int audit_check_proof(const Client& client, const AuditOptions& options);
int audit_begin_anew(const Client& client, const AuditOptions& options);

}  // namespace sluice::cli
