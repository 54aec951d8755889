// SPDX-License-Identifier: Apache-2.0
// An empty image, made together with what says that it is whole.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "handles.hpp"

namespace ironcore::storage::ceph {

/// What rbd_create4 makes with the options that our images have, without a data pool, in the same order: its name, its id, what its objects are, its header. The header
/// has the metadata from the beginning, so the image is whole as soon as it is one. A call that was cut off leaves what rbd_create4 leaves: the name, perhaps with an id. rbd_create4
/// builds a configuration of all that Ceph knows for each image, which takes longer than everything else; here nothing of that is needed.
///
/// `already_exists` if there is such a name; then `io` is as it was, unless the name had an id but was not listed.
Result<void> make_whole_image(const IoContext& io, const std::string& name, std::uint64_t size_bytes,
                              const std::map<std::string, std::string>& metadata);

/// Of an image that was only begun, so that librbd does not find its header, and not what belongs to it.
Result<void> remove_object_map(const IoContext& io, const std::string& id);

}  // namespace ironcore::storage::ceph
