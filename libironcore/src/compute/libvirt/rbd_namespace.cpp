// SPDX-License-Identifier: Apache-2.0
// Loaded into QEMU before its own libraries (LD_PRELOAD): images in RADOS namespaces, for libvirt before 11.6.
//
// Such a libvirt takes `POOL/NAMESPACE/IMAGE` for image `NAMESPACE/IMAGE` of the default namespace of POOL, and has no word for a namespace,
// although QEMU has one. No image has a slash in its name. So when QEMU opens one that has, what is before the slash becomes the namespace.
// Nothing else changes, and everything that libvirt does with the disk (secrets, hot-plug, resize) works as with any other.
#include <dlfcn.h>

#include <cerrno>
#include <cstddef>
#include <cstring>

namespace {

/// librbd and librados are there already when QEMU opens an image.
void* find(const char* library, const char* function) {
  void* const loaded = ::dlopen(library, RTLD_LAZY | RTLD_NOLOAD);
  return loaded == nullptr ? nullptr : ::dlsym(loaded, function);
}

}  // namespace

/// As `rbd_open` of librbd.
extern "C" __attribute__((visibility("default"))) int rbd_open(void* context, const char* name, void** image,
                                                               const char* snapshot) {
  using Open = int (*)(void*, const char*, void**, const char*);
  using SetNamespace = void (*)(void*, const char*);
  const auto open = reinterpret_cast<Open>(find("librbd.so.1", "rbd_open"));
  if (open == nullptr) return -ENOSYS;
  const char* const slash = std::strchr(name, '/');
  if (slash == nullptr) return open(context, name, image, snapshot);
  char space[256];
  const auto length = static_cast<std::size_t>(slash - name);
  if (length == 0 || length >= sizeof space) return -EINVAL;
  const auto set_namespace = reinterpret_cast<SetNamespace>(find("librados.so.2", "rados_ioctx_set_namespace"));
  if (set_namespace == nullptr) return -ENOSYS;
  std::memcpy(space, name, length);
  space[length] = '\0';
  set_namespace(context, space);
  return open(context, slash + 1, image, snapshot);
}
