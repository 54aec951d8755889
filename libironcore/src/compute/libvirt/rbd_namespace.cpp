// SPDX-License-Identifier: Apache-2.0
// Loaded into QEMU before its own libraries (LD_PRELOAD): what a libvirt before 11.6 cannot say about images on Ceph, although QEMU could.
//
// * RADOS namespaces. Such a libvirt takes `POOL/NAMESPACE/IMAGE` for image `NAMESPACE/IMAGE` of the default namespace. No image has a slash in
//   its name, so when QEMU opens one that has, what is before it becomes the namespace.
// * Encrypted images that are plugged in. libvirt 9.0 opens the image before it hands over the passphrase, and fails. So the passphrase comes
//   behind the key of the cephx user, in the same secret: a key says how long it is itself. Then the encryption is loaded here.
//
// Nothing else changes, and all that libvirt does with the disk (secrets, hot-plug, resize) works as with any other.
#include <dlfcn.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <mutex>

namespace {

constexpr std::size_t longest = 4096;  // of a key and of a passphrase

/// librbd and librados are there already when QEMU opens an image.
template <class Function>
Function find(const char* library, const char* function) {
  void* const loaded = ::dlopen(library, RTLD_LAZY | RTLD_NOLOAD);
  return loaded == nullptr ? nullptr : reinterpret_cast<Function>(::dlsym(loaded, function));
}

/// A passphrase on its way from the settings of a connection to the first image that is opened with it.
struct Waiting {
  void* cluster = nullptr;
  std::size_t size = 0;
  char passphrase[longest];
};
Waiting waiting[8];
std::mutex mutex;

/// Of this connection, or a free place for a null one. Needs the mutex.
Waiting* place_of(void* cluster) {
  for (auto& one : waiting) {
    if (one.cluster == cluster) return &one;
  }
  return nullptr;
}

void forget(void* cluster) {
  const std::lock_guard guard(mutex);
  if (Waiting* const one = cluster == nullptr ? nullptr : place_of(cluster)) {
    ::explicit_bzero(one->passphrase, sizeof one->passphrase);
    one->cluster = nullptr;
  }
}

int remember(void* cluster, const unsigned char* passphrase, std::size_t size) {
  forget(cluster);
  const std::lock_guard guard(mutex);
  Waiting* const one = place_of(nullptr);
  if (one == nullptr) return -EAGAIN;
  one->cluster = cluster;
  one->size = size;
  std::memcpy(one->passphrase, passphrase, size);
  return 0;
}

int digit_value(char c) {
  if (c >= 'A' && c <= 'Z') return c - 'A';
  if (c >= 'a' && c <= 'z') return c - 'a' + 26;
  if (c >= '0' && c <= '9') return c - '0' + 52;
  if (c == '+') return 62;
  return c == '/' ? 63 : -1;
}

/// Bytes of base64 text; 0 if it is none, or too long.
std::size_t decode(const char* text, unsigned char* out, std::size_t room) {
  std::size_t size = 0;
  unsigned bits = 0;
  int count = 0;
  for (; *text != '\0' && *text != '='; ++text) {
    const int value = digit_value(*text);
    if (value < 0 || size == room) return 0;
    bits = (bits << 6 | static_cast<unsigned>(value)) & 0xffffU;
    count += 6;
    if (count < 8) continue;
    count -= 8;
    out[size++] = static_cast<unsigned char>(bits >> count);
  }
  return size;
}

void encode(const unsigned char* bytes, std::size_t size, char* out) {
  static constexpr char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  for (std::size_t i = 0; i < size; i += 3) {
    const std::size_t left = size - i;
    const unsigned value = static_cast<unsigned>(bytes[i]) << 16 |
                           (left > 1 ? static_cast<unsigned>(bytes[i + 1]) << 8 : 0U) |
                           (left > 2 ? static_cast<unsigned>(bytes[i + 2]) : 0U);
    *out++ = digits[value >> 18];
    *out++ = digits[value >> 12 & 63];
    *out++ = left > 1 ? digits[value >> 6 & 63] : '=';
    *out++ = left > 2 ? digits[value & 63] : '=';
  }
  *out = '\0';
}

/// Bytes of a cephx key by its own account: type, two parts of a time, size (all little-endian), bytes.
std::size_t key_size(const unsigned char* bytes, std::size_t size) {
  constexpr std::size_t head = 12;
  if (size < head) return size;
  return head + (bytes[head - 2] | static_cast<std::size_t>(bytes[head - 1]) << 8);
}

}  // namespace

#define IRONCORE_EXPORT extern "C" __attribute__((visibility("default")))

/// As `rados_conf_set` of librados.
IRONCORE_EXPORT int rados_conf_set(void* cluster, const char* option, const char* value) {
  using Set = int (*)(void*, const char*, const char*);
  const auto set = find<Set>("librados.so.2", "rados_conf_set");
  if (set == nullptr) return -ENOSYS;
  if (std::strcmp(option, "key") != 0) return set(cluster, option, value);
  unsigned char bytes[2 * longest];
  const std::size_t size = decode(value, bytes, sizeof bytes);
  const std::size_t key = key_size(bytes, size);
  int result = -EINVAL;
  if (size <= key) {
    result = set(cluster, option, value);
  } else if (key <= longest && size - key <= longest) {
    result = remember(cluster, bytes + key, size - key);
    if (result == 0) {
      char text[longest / 3 * 4 + 8];
      encode(bytes, key, text);
      result = set(cluster, option, text);
      ::explicit_bzero(text, sizeof text);
    }
    if (result < 0) forget(cluster);
  }
  ::explicit_bzero(bytes, sizeof bytes);
  return result;
}

/// As `rados_shutdown` of librados.
IRONCORE_EXPORT void rados_shutdown(void* cluster) {
  using Shutdown = void (*)(void*);
  forget(cluster);
  if (const auto shutdown = find<Shutdown>("librados.so.2", "rados_shutdown")) shutdown(cluster);
}

/// As `rbd_open` of librbd.
IRONCORE_EXPORT int rbd_open(void* context, const char* name, void** image, const char* snapshot) {
  using Open = int (*)(void*, const char*, void**, const char*);
  using Close = int (*)(void*);
  using Load = int (*)(void*, int, void*, std::size_t);
  using SetNamespace = void (*)(void*, const char*);
  using GetCluster = void* (*)(void*);
  const auto open = find<Open>("librbd.so.1", "rbd_open");
  const auto close = find<Close>("librbd.so.1", "rbd_close");
  const auto load = find<Load>("librbd.so.1", "rbd_encryption_load");
  const auto set_namespace = find<SetNamespace>("librados.so.2", "rados_ioctx_set_namespace");
  const auto get_cluster = find<GetCluster>("librados.so.2", "rados_ioctx_get_cluster");
  if (open == nullptr || close == nullptr || load == nullptr || set_namespace == nullptr || get_cluster == nullptr)
    return -ENOSYS;
  if (const char* const slash = std::strchr(name, '/')) {
    char space[256];
    const auto length = static_cast<std::size_t>(slash - name);
    if (length == 0 || length >= sizeof space) return -EINVAL;
    std::memcpy(space, name, length);
    space[length] = '\0';
    set_namespace(context, space);
    name = slash + 1;
  }
  int result = open(context, name, image, snapshot);
  if (result < 0) return result;

  Waiting found;
  found.size = 0;
  void* const cluster = get_cluster(context);
  {
    const std::lock_guard guard(mutex);
    if (const Waiting* const one = place_of(cluster)) found = *one;
  }
  if (found.size == 0) return result;
  forget(cluster);
  struct {
    int algorithm;  // read from the header
    const char* passphrase;
    std::size_t size;
  } options{0, found.passphrase, found.size};
  constexpr int luks2 = 1;
  result = load(*image, luks2, &options, sizeof options);
  ::explicit_bzero(&found, sizeof found);
  if (result < 0) close(*image);
  return result;
}
