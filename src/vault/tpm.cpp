#include "vault/tpm.h"

#include <cstdlib>
#include <memory>

#include <fmt/format.h>
#include <tss2/tss2_esys.h>
#include <tss2/tss2_mu.h>
#include <tss2/tss2_rc.h>
#include <tss2/tss2_tctildr.h>

#include "crypto/secret.h"

namespace sluice::vault {
namespace {

// What is kept of a sealed secret: this byte, the PCRs as bits, then TPM2B_PUBLIC and
// TPM2B_PRIVATE.
constexpr uint8_t kForm = 1;
constexpr size_t kFormHead = 1 + 4;

struct FreeTss {
  void operator()(void* p) const noexcept { Esys_Free(p); }
};
template <typename T>
using Owned = std::unique_ptr<T, FreeTss>;

// A response code without the layer that it came from and, of format one, the handle, parameter or
// session that it is about.
TSS2_RC plain(TSS2_RC rc) {
  const TSS2_RC of_tpm = rc & ~TSS2_RC_LAYER_MASK;
  return (of_tpm & TPM2_RC_FMT1) != 0 ? of_tpm & (TPM2_RC_FMT1 | 0x3f) : of_tpm;
}

// One connection and what lives in the TPM as long as it does.
class Chip {
 public:
  static Result<std::unique_ptr<Chip>> connect(const std::string& tcti);
  Chip(const Chip&) = delete;
  Chip& operator=(const Chip&) = delete;
  ~Chip();

  ESYS_CONTEXT* esys() const { return esys_; }
  ESYS_TR parent() const { return parent_; }
  Result<void> make_parent();
  Result<ESYS_TR> session(TPM2_SE type, TPMA_SESSION attributes);
  Result<void> policy(ESYS_TR session, uint32_t pcrs);
  // Flushed at the end.
  void keep(ESYS_TR handle) { handles_.push_back(handle); }
  tl::unexpected<Error> failed(const char* what, TSS2_RC rc) const;

 private:
  explicit Chip(std::string tcti) : name_(std::move(tcti)) {}
  std::string name_;
  TSS2_TCTI_CONTEXT* tcti_ = nullptr;
  ESYS_CONTEXT* esys_ = nullptr;
  ESYS_TR parent_ = ESYS_TR_NONE;
  std::vector<ESYS_TR> handles_;
};

tl::unexpected<Error> Chip::failed(const char* what, TSS2_RC rc) const {
  switch (plain(rc)) {
    case TPM2_RC_INTEGRITY:
      return fail(ErrorCode::kKeyFile,
                  fmt::format("the TPM at {} has not sealed this vault's master key: another one "
                              "has, or it was cleared since; connect that TPM, or restore from a "
                              "backup whose master key you hold",
                              name_));
    case TPM2_RC_POLICY_FAIL:
    case TPM2_RC_VALUE:
      return fail(
          ErrorCode::kRefused,
          fmt::format("the TPM at {} keeps the master key to itself: its PCRs are not those "
                      "that the key was sealed to; boot what was booted then",
                      name_));
    case TPM2_RC_AUTH_FAIL:
    case TPM2_RC_BAD_AUTH:
      return fail(
          ErrorCode::kRefused,
          fmt::format("the TPM at {} refuses the auth value: put back the vault.tpm.auth_file "
                      "that the master key was sealed with",
                      name_));
    default:
      return fail(ErrorCode::kResource,
                  fmt::format("the TPM at {} does not {}: {}; check vault.tpm.tcti", name_, what,
                              Tss2_RC_Decode(rc)));
  }
}

Result<std::unique_ptr<Chip>> Chip::connect(const std::string& tcti) {
  std::unique_ptr<Chip> out(new Chip(tcti));
  if (const TSS2_RC rc = Tss2_TctiLdr_Initialize(tcti.c_str(), &out->tcti_); rc != 0) {
    return out->failed("answer", rc);
  }
  if (const TSS2_RC rc = Esys_Initialize(&out->esys_, out->tcti_, nullptr); rc != 0) {
    return out->failed("answer", rc);
  }
  if (auto ok = out->make_parent(); !ok) return tl::unexpected(ok.error());
  return out;
}

Chip::~Chip() {
  for (auto h = handles_.rbegin(); h != handles_.rend(); ++h) (void)Esys_FlushContext(esys_, *h);
  if (esys_ != nullptr) Esys_Finalize(&esys_);
  if (tcti_ != nullptr) Tss2_TctiLdr_Finalize(&tcti_);
}

// The storage key of the owner's hierarchy, made anew from the TPM's seed each time: nothing is
// stored in it. The template is the TCG's of an ECC P-256 storage root key.
Result<void> Chip::make_parent() {
  TPM2B_PUBLIC in{};
  TPMT_PUBLIC& area = in.publicArea;
  area.type = TPM2_ALG_ECC;
  area.nameAlg = TPM2_ALG_SHA256;
  area.objectAttributes = TPMA_OBJECT_FIXEDTPM | TPMA_OBJECT_FIXEDPARENT |
                          TPMA_OBJECT_SENSITIVEDATAORIGIN | TPMA_OBJECT_USERWITHAUTH |
                          TPMA_OBJECT_NODA | TPMA_OBJECT_RESTRICTED | TPMA_OBJECT_DECRYPT;
  TPMS_ECC_PARMS& ecc = area.parameters.eccDetail;
  ecc.symmetric.algorithm = TPM2_ALG_AES;
  ecc.symmetric.keyBits.aes = 128;
  ecc.symmetric.mode.aes = TPM2_ALG_CFB;
  ecc.scheme.scheme = TPM2_ALG_NULL;
  ecc.curveID = TPM2_ECC_NIST_P256;
  ecc.kdf.scheme = TPM2_ALG_NULL;
  area.unique.ecc.x.size = area.unique.ecc.y.size = 32;
  const TPM2B_SENSITIVE_CREATE sensitive{};
  const TPM2B_DATA outside{};
  const TPML_PCR_SELECTION none{};
  const TSS2_RC rc = Esys_CreatePrimary(esys_, ESYS_TR_RH_OWNER, ESYS_TR_PASSWORD, ESYS_TR_NONE,
                                        ESYS_TR_NONE, &sensitive, &in, &outside, &none, &parent_,
                                        nullptr, nullptr, nullptr, nullptr);
  if (rc != 0) return failed("make its storage key", rc);
  keep(parent_);
  return {};
}

Result<ESYS_TR> Chip::session(TPM2_SE type, TPMA_SESSION attributes) {
  TPMT_SYM_DEF cipher{};
  cipher.algorithm = TPM2_ALG_AES;
  cipher.keyBits.aes = 128;
  cipher.mode.aes = TPM2_ALG_CFB;
  ESYS_TR out = ESYS_TR_NONE;
  TSS2_RC rc = Esys_StartAuthSession(esys_, parent_, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE,
                                     ESYS_TR_NONE, nullptr, type, &cipher, TPM2_ALG_SHA256, &out);
  if (rc != 0) return failed("begin a session", rc);
  keep(out);
  attributes |= TPMA_SESSION_CONTINUESESSION;
  rc = Esys_TRSess_SetAttributes(esys_, out, attributes, 0xff);
  if (rc != 0) return failed("begin a session", rc);
  return out;
}

// The PCRs as they are now, and the auth value.
Result<void> Chip::policy(ESYS_TR session, uint32_t pcrs) {
  if (pcrs != 0) {
    TPML_PCR_SELECTION selection{};
    selection.count = 1;
    selection.pcrSelections[0].hash = TPM2_ALG_SHA256;
    selection.pcrSelections[0].sizeofSelect = 3;
    for (size_t i = 0; i < 3; ++i) {
      selection.pcrSelections[0].pcrSelect[i] = static_cast<uint8_t>(pcrs >> (8 * i));
    }
    const TPM2B_DIGEST now{};
    const TSS2_RC rc =
        Esys_PolicyPCR(esys_, session, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, &now, &selection);
    if (rc != 0) return failed("read its PCRs", rc);
  }
  const TSS2_RC rc = Esys_PolicyAuthValue(esys_, session, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE);
  if (rc != 0) return failed("take the policy", rc);
  return {};
}

// Its command and response pass through a buffer of the library that nobody wipes: the last one
// fills it with something else.
void overwrite_response(const Chip& chip) {
  TPM2B_DIGEST* noise = nullptr;
  (void)Esys_GetRandom(chip.esys(), ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, 64, &noise);
  Esys_Free(noise);
}

Result<Buffer> marshal(const Chip& chip, uint32_t pcrs, const TPM2B_PUBLIC& seen,
                       const TPM2B_PRIVATE& hidden) {
  Buffer out(kFormHead + sizeof seen + sizeof hidden);
  out[0] = kForm;
  store_le(out.data() + 1, pcrs);
  size_t at = kFormHead;
  TSS2_RC rc = Tss2_MU_TPM2B_PUBLIC_Marshal(&seen, out.data(), out.size(), &at);
  if (rc == 0) rc = Tss2_MU_TPM2B_PRIVATE_Marshal(&hidden, out.data(), out.size(), &at);
  if (rc != 0) return chip.failed("say what it sealed", rc);
  out.resize(at);
  return out;
}

}  // namespace

void quiet_tpm() {
  setenv("TSS2_LOG", "all+NONE", 0);
}

Result<Buffer> tpm_seal(const TpmOptions& options, Bytes auth, Bytes secret) {
  auto chip = Chip::connect(options.tcti);
  if (!chip) return tl::unexpected(chip.error());
  ESYS_CONTEXT* esys = (*chip)->esys();
  uint32_t pcrs = 0;
  for (const uint8_t pcr : options.pcrs) pcrs |= uint32_t{1} << pcr;

  TPM2B_PUBLIC in{};
  TPMT_PUBLIC& area = in.publicArea;
  area.type = TPM2_ALG_KEYEDHASH;
  area.nameAlg = TPM2_ALG_SHA256;
  // Without USERWITHAUTH: by the policy alone. An auth value of 32 random bytes needs no lockout.
  area.objectAttributes = TPMA_OBJECT_FIXEDTPM | TPMA_OBJECT_FIXEDPARENT | TPMA_OBJECT_NODA;
  area.parameters.keyedHashDetail.scheme.scheme = TPM2_ALG_NULL;
  {
    const auto trial = (*chip)->session(TPM2_SE_TRIAL, 0);
    if (!trial) return tl::unexpected(trial.error());
    if (auto ok = (*chip)->policy(*trial, pcrs); !ok) return tl::unexpected(ok.error());
    TPM2B_DIGEST* digest = nullptr;
    const TSS2_RC rc =
        Esys_PolicyGetDigest(esys, *trial, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, &digest);
    const Owned<TPM2B_DIGEST> owned(digest);
    if (rc != 0) return (*chip)->failed("take the policy", rc);
    area.authPolicy = *digest;
  }
  const auto session = (*chip)->session(TPM2_SE_HMAC, TPMA_SESSION_DECRYPT);
  if (!session) return tl::unexpected(session.error());
  TPM2B_SENSITIVE_CREATE sensitive{};
  sensitive.sensitive.userAuth.size = static_cast<UINT16>(auth.size());
  std::memcpy(sensitive.sensitive.userAuth.buffer, auth.data(), auth.size());
  sensitive.sensitive.data.size = static_cast<UINT16>(secret.size());
  std::memcpy(sensitive.sensitive.data.buffer, secret.data(), secret.size());
  const TPM2B_DATA outside{};
  const TPML_PCR_SELECTION none{};
  TPM2B_PRIVATE* hidden = nullptr;
  TPM2B_PUBLIC* seen = nullptr;
  const TSS2_RC rc =
      Esys_Create(esys, (*chip)->parent(), *session, ESYS_TR_NONE, ESYS_TR_NONE, &sensitive, &in,
                  &outside, &none, &hidden, &seen, nullptr, nullptr, nullptr);
  crypto::wipe(&sensitive, sizeof sensitive);
  const Owned<TPM2B_PRIVATE> own_hidden(hidden);
  const Owned<TPM2B_PUBLIC> own_seen(seen);
  overwrite_response(**chip);
  // The library also keeps a copy of what was created last.
  (void)(*chip)->make_parent();
  if (rc != 0) return (*chip)->failed("seal the master key", rc);
  return marshal(**chip, pcrs, *seen, *hidden);
}

Result<crypto::SecretBuffer> tpm_unseal(const TpmOptions& options, Bytes auth, Bytes sealed) {
  TPM2B_PUBLIC seen{};
  TPM2B_PRIVATE hidden{};
  size_t at = kFormHead;
  if (sealed.size() < kFormHead || sealed[0] != kForm ||
      Tss2_MU_TPM2B_PUBLIC_Unmarshal(sealed.data(), sealed.size(), &at, &seen) != 0 ||
      Tss2_MU_TPM2B_PRIVATE_Unmarshal(sealed.data(), sealed.size(), &at, &hidden) != 0) {
    return fail(ErrorCode::kKeyFile,
                "what the TPM sealed is damaged in the store: restore it from a backup");
  }
  auto chip = Chip::connect(options.tcti);
  if (!chip) return tl::unexpected(chip.error());
  ESYS_CONTEXT* esys = (*chip)->esys();
  const auto session = (*chip)->session(TPM2_SE_HMAC, 0);
  if (!session) return tl::unexpected(session.error());
  ESYS_TR object = ESYS_TR_NONE;
  TSS2_RC rc = Esys_Load(esys, (*chip)->parent(), *session, ESYS_TR_NONE, ESYS_TR_NONE, &hidden,
                         &seen, &object);
  if (rc != 0) return (*chip)->failed("load the master key", rc);
  (*chip)->keep(object);
  TPM2B_AUTH value{};
  value.size = static_cast<UINT16>(auth.size());
  std::memcpy(value.buffer, auth.data(), auth.size());
  rc = Esys_TR_SetAuth(esys, object, &value);
  crypto::wipe(&value, sizeof value);
  if (rc != 0) return (*chip)->failed("take the auth value", rc);
  const auto allowed = (*chip)->session(TPM2_SE_POLICY, TPMA_SESSION_ENCRYPT);
  if (!allowed) return tl::unexpected(allowed.error());
  if (auto ok = (*chip)->policy(*allowed, load_le<uint32_t>(sealed.data() + 1)); !ok) {
    return tl::unexpected(ok.error());
  }
  TPM2B_SENSITIVE_DATA* data = nullptr;
  rc = Esys_Unseal(esys, object, *allowed, ESYS_TR_NONE, ESYS_TR_NONE, &data);
  overwrite_response(**chip);
  if (rc != 0) return (*chip)->failed("give the master key", rc);
  crypto::SecretBuffer out(Bytes(data->buffer, data->size));
  crypto::wipe(data, sizeof *data);
  Esys_Free(data);
  return out;
}

}  // namespace sluice::vault
