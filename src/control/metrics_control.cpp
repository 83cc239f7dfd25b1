#include "control/control.h"
#include "control/metric_family.h"
#include "control/metrics.h"
#include "crypto/ed25519_batch.h"
#include "crypto/x25519.h"

namespace sluice::control {
namespace {

void one(MetricFamilies& out, Metric metric, double value) {
  Family(out, metric).add(value);
}

void add_program(MetricFamilies& out, Control& c) {
  const Clock& clock = c.around().clock;
  const auto& header = c.around().arena.header();
  Family(out, Metric::kBuildInfo)
      .add(1, {{"version", SLUICE_VERSION},
               {"aead", std::string("IPsec-MB ") + header.ipsec_mb_version},
               {"aead_path", header.ipsec_mb_path},
               {"public_keys", std::string(crypto::name_of(crypto::batch_engine()))}});
  const double up_s = clock.us_from_ticks(clock.ticks() - c.started()) / 1e6;
  one(out, Metric::kStartTime, double(clock.unix_ms()) / 1000 - up_s);
  one(out, Metric::kPauses, double(c.watch().pauses()));
  one(out, Metric::kLongestPause, clock.us_from_ticks(c.watch().longest_pause()) / 1e6);
  one(out, Metric::kMaxStaleness, c.config().max_staleness_s);
}

void add_trust(MetricFamilies& out, Control& c) {
  one(out, Metric::kTenants, double(c.enrolment().tenants().size()));
  one(out, Metric::kEdges, double(c.trust().edges().size()));
  Family f(out, Metric::kTenantInfo);
  for (const auto& [tenant, place] : c.trust().latency_places().all()) {
    f.add(1, {{"tenant", std::to_string(tenant)}, {"name", c.enrolment().tenant_name(tenant)}});
  }
}

void add_handshakes(MetricFamilies& out, Control& c) {
  {
    Family f(out, Metric::kHandshakes);
    for (size_t i = 0; i < size_t(HandshakeOutcome::kCount); ++i) {
      f.add(double(c.handshakes().counts()[i]), {{"outcome", kOutcomeTable[i].name}});
    }
  }
  one(out, Metric::kUnderLoad, c.handshakes().under_load() ? 1 : 0);
  const PreparedKeys::Counts keys = c.prepared_keys().counts();
  one(out, Metric::kPreparedReady, keys.ready);
  one(out, Metric::kPreparedRoom, keys.room);
  one(out, Metric::kPreparedMade, double(keys.prepared));
  one(out, Metric::kPreparedEvicted, double(keys.evicted));
  one(out, Metric::kX25519, double(crypto::x25519_operations()));
  const auto& counts = c.channel().counts();
  const std::pair<const char*, uint64_t> kinds[] = {{"sent", counts.sent},
                                                    {"repeated", counts.repeated},
                                                    {"acknowledged", counts.acknowledged},
                                                    {"given_up", counts.given_up},
                                                    {"received", counts.received},
                                                    {"malformed", counts.malformed}};
  Family f(out, Metric::kMessages);
  for (const auto& [kind, n] : kinds) f.add(double(n), {{"kind", kind}});
}

void add_store(MetricFamilies& out, Control& c) {
  one(out, Metric::kStoreCommits, double(c.store().commits()));
  const Revocations::Totals& cuts = c.revocations().totals();
  {
    Family f(out, Metric::kRevocations);
    constexpr const char* kStates[] = {"cut", "not_durable", "not_proven"};
    for (size_t i = 0; i < 3; ++i) f.add(double(cuts.answers[i]), {{"state", kStates[i]}});
  }
  one(out, Metric::kLastCut, cuts.last_cut_us / 1e6);
  one(out, Metric::kLongestCut, cuts.longest_cut_us / 1e6);
  const audit::WriterStatus s = c.audit().writer().status();
  one(out, Metric::kAuditRecords, double(s.size));
  one(out, Metric::kAuditUnpublished, double(s.size - std::min(s.size, s.published.size)));
  one(out, Metric::kAuditLost, double(s.lost));
  one(out, Metric::kAuditAvailable, s.available ? 1 : 0);
  one(out, Metric::kAuditFree, double(s.free_bytes));
  if (const auto days = c.audit().forecast().days_left) one(out, Metric::kAuditDays, *days);
}

void add_vault(MetricFamilies& out, const Vault& vault) {
  one(out, Metric::kVaultUnlocked, vault.state() == VaultState::kUnlocked ? 1 : 0);
  one(out, Metric::kCredentials, double(vault.credentials().size()));
  one(out, Metric::kCredentialsAging, double(vault.aging()));
  one(out, Metric::kCredentialsDamaged, double(vault.damaged()));
}

void add_slots(MetricFamilies& out, Control& c) {
  const CredentialPublisher::Counts n = c.credential_slots().counts();
  {
    Family f(out, Metric::kCredentialPlaces);
    f.add(n.usable, {{"state", "usable"}});
    f.add(n.outside_window, {{"state", "outside_window"}});
    f.add(n.unavailable, {{"state", "unavailable"}});
  }
  Family f(out, Metric::kCredentialRoom);
  f.add(n.room, {{"state", "total"}});
  f.add(n.resting, {{"state", "resting"}});
}

void add_ports(MetricFamilies& out, const std::vector<fabric::PortStatus>& ports) {
  const auto each = [&](Metric metric, const auto& value) {
    Family f(out, metric);
    for (const auto& p : ports) f.add(double(value(p)), {{"port", p.name}});
  };
  each(Metric::kPortUp, [](const auto& p) { return p.link_up ? 1 : 0; });
  each(Metric::kPortSpeed, [](const auto& p) { return 1e6 * p.link_mbps; });
  each(Metric::kPortMissed, [](const auto& p) { return p.rx_missed; });
  each(Metric::kPortNoBuffer, [](const auto& p) { return p.rx_no_buffer; });
  each(Metric::kPortTxErrors, [](const auto& p) { return p.tx_errors; });
}

}  // namespace

MetricFamilies control_metrics(Control& control, double last_scrape_us) {
  MetricFamilies out;
  add_program(out, control);
  add_trust(out, control);
  add_handshakes(out, control);
  add_store(out, control);
  add_vault(out, control.vault());
  add_slots(out, control);
  add_ports(out, control.around().ports());
  one(out, Metric::kScrape, last_scrape_us / 1e6);
  return out;
}

}  // namespace sluice::control
