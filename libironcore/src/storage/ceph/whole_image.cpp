// SPDX-License-Identifier: Apache-2.0
// The four objects of an empty image, by the methods of Ceph's class `rbd`, which clients of all versions share.
#include "whole_image.hpp"

#include <array>
#include <cerrno>

#include "encoding.hpp"
#include "errors.hpp"
#include "header.hpp"
#include "ironcore/base/random.hpp"

namespace ironcore::storage::ceph {

namespace {

/// Changes of one object: all of them or none.
class Change {
 public:
  Change() : operation_(rados_create_write_op()) {}
  Change(const Change&) = delete;
  Change& operator=(const Change&) = delete;
  ~Change() { rados_release_write_op(operation_); }

  /// Only if there is no such object.
  Change& create() {
    rados_write_op_create(operation_, LIBRADOS_CREATE_EXCLUSIVE, nullptr);
    return *this;
  }
  template <class... Words>
  Change& call(const char* method, const Words&... words) {
    std::string input;
    (append(input, words), ...);
    return call_with(method, input);
  }
  Change& call_with(const char* method, const std::string& input) {
    rados_write_op_exec(operation_, "rbd", method, input.data(), input.size(), nullptr);
    return *this;
  }
  int make(const IoContext& io, const std::string& object) {
    return rados_write_op_operate(operation_, io.get(), object.c_str(), nullptr, 0);
  }

 private:
  rados_write_op_t operation_;
};

/// As librbd makes them: of at most 14 hexadecimal digits.
std::string new_id() {
  std::array<std::byte, 7> bytes{};
  SystemRandom().fill(bytes);
  std::string id;
  for (const std::byte byte : bytes)
    for (const unsigned shift : {4U, 0U}) id += "0123456789abcdef"[std::to_integer<unsigned>(byte) >> shift & 0xf];
  return id;
}

std::string object_map_of(const std::string& id) {
  return "rbd_object_map." + id;
}

}  // namespace

Result<void> make_whole_image(const IoContext& io, const std::string& name, std::uint64_t size_bytes,
                              const std::map<std::string, std::string>& metadata) {
  constexpr std::uint8_t is_ready = 0, is_absent = 0;  // of the namespace; of each object of the image
  constexpr std::uint64_t no_data_pool = ~std::uint64_t{0};
  const std::string id = new_id();
  const std::string doing = "make image " + name;
  IRONCORE_CHECK(checked(
      Change().call("dir_state_assert", is_ready).call("dir_add_image", name, id).make(io, "rbd_directory"), doing));
  IRONCORE_CHECK(checked(Change().create().call("set_id", id).make(io, "rbd_id." + name), doing));
  const std::uint64_t objects = (size_bytes + object_size - 1) / object_size;
  IRONCORE_CHECK(checked(Change().call("object_map_resize", objects, is_absent).make(io, object_map_of(id)), doing));
  return checked(Change()
                     .create()
                     .call("create", size_bytes, image_order, image_features, "rbd_data." + id, no_data_pool)
                     .call_with("metadata_set", encoded(metadata))
                     .make(io, "rbd_header." + id),
                 doing);
}

Result<void> remove_object_map(const IoContext& io, const std::string& id) {
  const int code = rados_remove(io.get(), object_map_of(id).c_str());
  return code == -ENOENT ? Result<void>() : checked(code, "remove the object map of an image that was only begun");
}

}  // namespace ironcore::storage::ceph
