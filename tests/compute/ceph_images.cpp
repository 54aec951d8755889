// SPDX-License-Identifier: Apache-2.0
// `rbd` and `ceph`, as an administrator types them.
#include "ceph_images.hpp"

#include <stdio.h>

#include <array>
#include <fstream>
#include <stdexcept>

#include "ironcore/base/base64.hpp"

namespace ironcore::tests {

namespace {

constexpr std::uint64_t kHeader = std::uint64_t{16} << 20;
constexpr const char* kSpace = "tenant";

std::string mebibytes(std::uint64_t bytes) {
  return std::to_string(bytes >> 20) + "M";
}

}  // namespace

CephImages::CephImages(const CephCluster& cluster) : cluster_(cluster), pool_(cluster.env("CEPH_POOL")) {
  run("rbd namespace create " + pool_ + "/" + kSpace);
}

std::string CephImages::run(const std::string& command) const {
  FILE* pipe = ::popen(("CEPH_CONF=" + cluster_.env("CEPH_CONF") + " " + command + " 2>&1").c_str(), "re");
  if (pipe == nullptr) throw std::runtime_error("cannot run " + command);
  std::string out;
  std::array<char, 4096> part{};
  while (const std::size_t size = ::fread(part.data(), 1, part.size(), pipe)) out.append(part.data(), size);
  if (::pclose(pipe) != 0) throw std::runtime_error(command + ": " + out);
  return out;
}

std::string CephImages::make_user(const std::string& user) const {
  const std::string caps = "profile rbd pool=" + pool_ + " namespace=" + kSpace +
                           ", profile rbd-read-only pool=" + pool_ + " namespace=\\\"\\\"";
  auto key = run("ceph auth get-or-create-key client." + user + " mon 'profile rbd' osd \"" + caps + "\"");
  while (!key.empty() && key.back() == '\n') key.pop_back();
  return base64_decode(key).value();
}

std::string CephImages::place(const std::string& name) const {
  return pool_ + "/" + kSpace + "/" + name;
}

compute::RbdImage CephImages::describe(const std::string& name) const {
  return {.monitors = {cluster_.env("CEPH_MONITOR")}, .pool = pool_, .space = kSpace, .image = name, .user = {}};
}

compute::RbdImage CephImages::create(const std::string& name, std::uint64_t size_bytes,
                                     const std::string& passphrase) const {
  auto image = describe(name);
  image.is_encrypted = !passphrase.empty();
  run("rbd create " + place(name) + " --size " + mebibytes(size_bytes + (image.is_encrypted ? kHeader : 0)));
  if (image.is_encrypted) {
    const auto file = cluster_.directory() / "passphrase";
    std::ofstream(file, std::ios::binary) << passphrase;
    run("rbd encryption format " + place(name) + " luks2 " + file.string());
    std::filesystem::remove(file);
    // Without it 16.2 reads garbage where nothing was written.
    run("rbd image-meta set " + place(name) + " conf_rbd_sparse_read_threshold_bytes 1");
  }
  return image;
}

compute::RbdImage CephImages::import(const std::string& name, const std::string& file) const {
  run("rbd import --no-progress " + file + " " + place(name));
  return describe(name);
}

void CephImages::enlarge(const compute::RbdImage& image, std::uint64_t size_bytes) const {
  run("rbd resize --no-progress " + place(image.image) + " --size " +
      mebibytes(size_bytes + (image.is_encrypted ? kHeader : 0)));
}

void CephImages::remove(const compute::RbdImage& image) const {
  run("rbd rm --no-progress " + place(image.image));
}

std::string CephImages::stored(const compute::RbdImage& image, std::size_t bytes) const {
  return run("rbd export --no-progress " + place(image.image) + " - 2>/dev/null | head -c " + std::to_string(bytes));
}

}  // namespace ironcore::tests
