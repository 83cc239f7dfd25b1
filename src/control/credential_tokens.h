// Access tokens in the place of the OAuth2 clients that the vault keeps (docs/oauth2.md): between
// the vault and whoever fills the workers' slots, to whom such a credential is one whose content
// ends with its token. A client's token is asked for when its window opens, and while it is open
// kept fresh; one flight for each credential, however many places it is bound to. Tokens are held
// in guarded memory alone. The control thread's.
#pragma once

#include <map>
#include <memory>
#include <set>

#include "base/clock.h"
#include "control/credentials.h"
#include "oauth2/token_keeper.h"

namespace sluice::control {

class CredentialTokens final : public Credentials, public CredentialSlots {
 public:
  // `slots` hears of what changes here, and asks this for what the vault alone does not know.
  CredentialTokens(const Clock& clock, Credentials& vault, CredentialSlots& slots,
                   oauth2::TokenKeeper::Post post);

  void changed(const CredentialPlace& place, std::function<void()> done) override;
  void poll();

  std::vector<CredentialPlace> places() const override { return vault_.places(); }
  bool is_bound(const CredentialPlace& place) const override { return vault_.is_bound(place); }
  CredentialStatus status(const CredentialPlace& place, int64_t unix_ms) const override;
  Result<crypto::SecretBuffer> open(const CredentialPlace& place) override;

 private:
  using Waiting = std::vector<std::function<void()>>;
  struct Client {
    uint32_t version = 0;
    std::set<CredentialPlace> places;
    crypto::SecretBuffer content;  // empty: there is no token
    int64_t ends_ms = 0;           // it is given to no call from then on
    std::string problem;           // of the last try
    // The client was set anew: its former token is good for calls until there is one of the new, or
    // it is known that there will be none; only then whoever waits is answered.
    bool former = false;
    Waiting waiting;
  };
  void tell(Client& client);
  void look_at(const CredentialPlace& place);
  // The client has a place less; who waited for its token, if that was the last one.
  Waiting leave(const CredentialPlace& place);
  Result<void> ask(uint64_t id, const CredentialPlace& place);
  void on_token(uint64_t id, crypto::SecretBuffer content, int64_t expires_ms);
  void on_failure(uint64_t id, std::string reason, int64_t retry_ms);

  const Clock& clock_;
  Credentials& vault_;
  CredentialSlots& slots_;
  const oauth2::TokenKeeper::Post post_;
  std::unique_ptr<oauth2::TokenKeeper> keeper_;  // from the first client on
  std::map<uint64_t, Client> clients_;           // by credential, while their windows are open
  std::map<CredentialPlace, uint64_t> of_;       // its places
  std::set<CredentialPlace> oauth2_;             // all places of clients, open or not
  uint64_t looked_ = 0;                          // ticks
};

}  // namespace sluice::control
