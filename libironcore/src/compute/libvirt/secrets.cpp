// SPDX-License-Identifier: Apache-2.0
// Definitions and values of secrets.
#include "secrets.hpp"

#include <libvirt/virterror.h>

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <optional>

#include "../device_name.hpp"
#include "errors.hpp"
#include "ironcore/crypto/derived_uid.hpp"
#include "ironcore/crypto/secret.hpp"
#include "xml.hpp"

namespace ironcore::compute::libvirt {

namespace {

struct FreeSecret {
  void operator()(virSecretPtr secret) const { virSecretFree(secret); }
};
using Secret = std::unique_ptr<virSecret, FreeSecret>;

constexpr std::string_view kMark = "ironcore/";

const char* word(SecretKind kind) {
  return kind == SecretKind::key ? "key" : kind == SecretKind::passphrase ? "passphrase" : "both";
}

/// What it is for: `ironcore/DOMAIN/key/DISK`. libvirt wants it to be another one for each secret.
std::string usage_of(const Uid& domain, std::string_view disk, SecretKind kind) {
  return std::string(kMark) + domain.to_text() + "/" + word(kind) + "/" + encode_device_name(disk);
}

std::optional<Uid> domain_of(virSecretPtr secret) {
  const char* usage = virSecretGetUsageID(secret);
  std::string_view text = usage == nullptr ? "" : usage;
  if (text.substr(0, kMark.size()) != kMark) return std::nullopt;
  text.remove_prefix(kMark.size());
  const auto uid = Uid::parse(text.substr(0, text.find('/')));
  return uid ? std::optional(*uid) : std::nullopt;
}

Result<std::vector<Secret>> all_secrets(virConnectPtr connection) {
  virSecretPtr* list = nullptr;
  const int count = virConnectListAllSecrets(connection, &list, 0);
  if (count < 0) return last_error("list the secrets of libvirt");
  std::vector<Secret> out;
  for (int i = 0; i < count; ++i) out.emplace_back(list[i]);
  std::free(list);
  return out;
}

Result<void> undefine(virSecretPtr secret) {
  if (virSecretUndefine(secret) == 0 || virGetLastErrorCode() == VIR_ERR_NO_SECRET) return {};
  return last_error("remove a secret of libvirt");
}

Result<void> put(virConnectPtr connection, const Uid& domain, const std::string& disk, SecretKind kind,
                 const std::string& value) {
  const std::string usage = xml_escape(usage_of(domain, disk, kind));
  const std::string xml =
      "<secret ephemeral='yes' private='yes'><uuid>" + secret_uid(domain, disk, kind).to_text() + "</uuid>" +
      (kind == SecretKind::passphrase ? "<usage type='volume'><volume>" + usage + "</volume></usage>"
                                      : "<usage type='ceph'><name>" + usage + "</name></usage>") +
      "</secret>";
  const Secret secret(virSecretDefineXML(connection, xml.c_str(), 0));
  if (!secret) return last_error("define a secret of libvirt");
  const auto* bytes = reinterpret_cast<const unsigned char*>(value.data());
  if (virSecretSetValue(secret.get(), bytes, value.size(), 0) < 0) return last_error("set a secret of libvirt");
  return {};
}

Result<void> remove(virConnectPtr connection, const Uid& domain, const std::string& disk, SecretKind kind) {
  const Secret secret(virSecretLookupByUUID(connection, secret_uid(domain, disk, kind).bytes().data()));
  if (secret) return undefine(secret.get());
  if (virGetLastErrorCode() == VIR_ERR_NO_SECRET) return {};
  return last_error("look for a secret of libvirt");
}

}  // namespace

Uid secret_uid(const Uid& domain, std::string_view disk, SecretKind kind) {
  return crypto::derived_uid(domain, std::string("secret/") + word(kind) + "/" + std::string(disk));
}

Result<void> put_secrets(virConnectPtr connection, const Uid& domain, const std::string& disk,
                         const DiskSecrets& secrets) {
  IRONCORE_CHECK(put(connection, domain, disk, SecretKind::key, secrets.key));
  if (secrets.passphrase.empty()) {
    IRONCORE_CHECK(remove(connection, domain, disk, SecretKind::both));
    return remove(connection, domain, disk, SecretKind::passphrase);
  }
  IRONCORE_CHECK(put(connection, domain, disk, SecretKind::passphrase, secrets.passphrase));
  std::string both = secrets.key + secrets.passphrase;
  auto result = put(connection, domain, disk, SecretKind::both, both);
  crypto::wipe(both);
  return result;
}

Result<void> remove_secrets(virConnectPtr connection, const Uid& domain, const std::string& disk) {
  IRONCORE_CHECK(remove(connection, domain, disk, SecretKind::key));
  IRONCORE_CHECK(remove(connection, domain, disk, SecretKind::passphrase));
  return remove(connection, domain, disk, SecretKind::both);
}

Result<void> remove_all_secrets(virConnectPtr connection, const Uid& domain) {
  IRONCORE_TRY(const auto secrets, all_secrets(connection));
  for (const auto& secret : secrets) {
    if (domain_of(secret.get()) == domain) IRONCORE_CHECK(undefine(secret.get()));
  }
  return {};
}

Result<std::vector<Uid>> secret_owners(virConnectPtr connection) {
  IRONCORE_TRY(const auto secrets, all_secrets(connection));
  std::vector<Uid> out;
  for (const auto& secret : secrets) {
    if (const auto domain = domain_of(secret.get())) out.push_back(*domain);
  }
  std::sort(out.begin(), out.end());
  out.erase(std::unique(out.begin(), out.end()), out.end());
  return out;
}

}  // namespace ironcore::compute::libvirt
