// SPDX-License-Identifier: Apache-2.0
// Drivers `local` and `ceph`: attributes and secrets, word for word.
#include "ironcore/control/volume_access.hpp"

#include <algorithm>
#include <charconv>
#include <string_view>

#include "ironcore/base/base64.hpp"
#include "ironcore/base/text.hpp"

namespace ironcore::control {

namespace {

Error invalid(std::string message) {
  return Error(ErrorCode::invalid, std::move(message));
}

Result<std::string> attribute(const api::VolumeAccess& access, const char* name) {
  const auto found = access.volume_attributes.find(name);
  if (found == access.volume_attributes.end() || found->second.empty())
    return invalid("its access has no attribute " + std::string(name) + ": see to its provider");
  return found->second;
}

Result<std::string> secret(const VolumeSecrets& secrets, const char* name) {
  const auto found = secrets.find(name);
  if (found == secrets.end() || found->second.empty())
    return invalid("the secret of its access has no entry " + std::string(name) + ": see to its provider");
  return found->second;
}

Result<std::string> decoded(const VolumeSecrets& secrets, const char* name) {
  IRONCORE_TRY(const std::string text, secret(secrets, name));
  auto bytes = base64_decode(text);
  if (!bytes || bytes->empty())  // the text of the error would show what it is about
    return invalid("entry " + std::string(name) + " of the secret of its access is no base64");
  return std::move(*bytes);
}

Result<std::uint64_t> limit(const api::VolumeAccess& access, const char* name) {
  const auto found = access.volume_attributes.find(name);
  if (found == access.volume_attributes.end()) return std::uint64_t{0};
  const auto& text = found->second;
  // More than libvirt can be told is no limit that anything reaches.
  constexpr std::uint64_t most = std::uint64_t{1} << 50;
  std::uint64_t value = 0;
  const auto [end, wrong] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (wrong == std::errc::result_out_of_range) return most;
  if (wrong != std::errc() || end != text.data() + text.size())
    return invalid("attribute " + std::string(name) + " of its access is no number");
  return std::min(value, most);
}

Result<compute::DiskLimits> limits(const api::VolumeAccess& access) {
  compute::DiskLimits out;
  IRONCORE_TRY(out.iops, limit(access, "iops"));
  IRONCORE_TRY(out.bytes_per_second, limit(access, "bytesPerSecond"));
  IRONCORE_TRY(out.burst_iops, limit(access, "burstIops"));
  IRONCORE_TRY(out.burst_bytes_per_second, limit(access, "burstBytesPerSecond"));
  IRONCORE_TRY(const auto seconds, limit(access, "burstSeconds"));
  constexpr std::uint64_t day = 86400;
  out.burst = std::chrono::seconds(std::min(seconds, day));
  return out;
}

Result<void> open_local(const api::VolumeAccess& access, const VolumeAccessOptions& options, compute::Disk& disk) {
  IRONCORE_TRY(const std::string text, attribute(access, "path"));
  IRONCORE_TRY(const std::string format, attribute(access, "format"));
  const std::filesystem::path path(text);
  // As it was written: no `..`, which would lead out again.
  const bool is_plain = path.is_absolute() && path.lexically_normal().native() == text && path.has_filename();
  const auto holds = [&](const std::filesystem::path& directory) {
    auto root = directory.lexically_normal();
    if (!root.has_filename()) root = root.parent_path();  // it was written with a slash at its end
    const auto [end, below] = std::mismatch(root.begin(), root.end(), path.begin(), path.end());
    return end == root.end() && below != path.end();
  };
  if (options.directories.empty())
    return Error(ErrorCode::unsupported,
                 "this host attaches no local volumes: name the directory of their pool (--volume-directory)");
  if (!is_plain || std::none_of(options.directories.begin(), options.directories.end(), holds))
    return Error(ErrorCode::forbidden, in_quotes(text) +
                                           " is no file of a directory with local volumes of this host; is it a volume "
                                           "of another host's pool?");
  disk.source = compute::ExistingDisk{.path = path, .format = format};
  return {};
}

Result<void> open_ceph(const api::VolumeAccess& access, const VolumeSecrets& secrets, compute::Disk& disk) {
  compute::RbdImage image;
  IRONCORE_TRY(const std::string monitors, attribute(access, "monitors"));
  for (std::size_t at = 0; at <= monitors.size();) {
    const auto end = std::min(monitors.find(',', at), monitors.size());
    const auto one = monitors.substr(at, end - at);
    if (!one.empty()) image.monitors.push_back(one);
    at = end + 1;
  }
  IRONCORE_TRY(const std::string name, attribute(access, "image"));
  const auto first = name.find('/');
  const auto last = name.rfind('/');
  if (first == std::string::npos)
    return invalid("attribute image of its access must be POOL/IMAGE or POOL/NAMESPACE/IMAGE, not " + in_quotes(name));
  image.pool = name.substr(0, first);
  if (last > first) image.space = name.substr(first + 1, last - first - 1);
  image.image = name.substr(last + 1);
  IRONCORE_TRY(image.user, secret(secrets, "userID"));
  IRONCORE_TRY(disk.secrets.key, decoded(secrets, "userKey"));
  // A key that is missing makes no plain disk: its guest would find noise, and format it.
  const auto encryption = access.volume_attributes.find("encryption");
  const bool is_told = encryption != access.volume_attributes.end();
  if (is_told && encryption->second != "luks2")
    return Error(ErrorCode::unsupported,
                 "its encryption " + in_quotes(encryption->second) + " is not known; this host knows luks2");
  image.is_encrypted = is_told || secrets.contains("encryptionKey");
  if (image.is_encrypted) {
    IRONCORE_TRY(disk.secrets.passphrase, decoded(secrets, "encryptionKey"));
  }
  disk.source = std::move(image);
  return {};
}

}  // namespace

Result<compute::Disk> open_volume(const api::VolumeAccess& access, const VolumeSecrets& secrets,
                                  const VolumeAccessOptions& options) {
  compute::Disk disk;
  if (access.driver == "local") {
    IRONCORE_CHECK(open_local(access, options, disk));
  } else if (access.driver == "ceph") {
    IRONCORE_CHECK(open_ceph(access, secrets, disk));
  } else {
    return Error(ErrorCode::unsupported,
                 "driver " + in_quotes(access.driver) + " is not known; this host knows local and ceph");
  }
  IRONCORE_TRY(disk.limits, limits(access));
  disk.handle = access.handle;
  return disk;
}

}  // namespace ironcore::control
