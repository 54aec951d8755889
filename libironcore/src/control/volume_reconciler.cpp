// SPDX-License-Identifier: Apache-2.0
// Class, finalizer, source, key, store, access, status: the steps of one volume.
#include "volume_reconciler.hpp"

#include <algorithm>

#include "ironcore/base/text.hpp"
#include "status_draft.hpp"
#include "volume_secrets.hpp"

namespace ironcore::control {

namespace {

std::uint64_t capability(const api::VolumeClass& volume_class, const char* name) {
  const auto found = volume_class.capabilities.find(name);
  return found == volume_class.capabilities.end()
             ? 0
             : static_cast<std::uint64_t>(std::max<std::int64_t>(0, found->second.value()));
}

std::string bytes_text(std::uint64_t bytes) {
  return Quantity::bytes(static_cast<std::int64_t>(bytes)).to_text();
}

bool is_claimed(const api::Volume& volume) {
  return volume.spec.claim_ref && !volume.spec.claim_ref->uid.empty();
}

}  // namespace

Result<storage::BlockId> block_id(const api::Metadata& metadata) {
  IRONCORE_TRY(const auto uid, Uid::parse(metadata.uid));
  return storage::BlockId{.tenant = metadata.namespace_, .uid = uid};
}

std::string annotation_of(const api::Metadata& metadata, const char* name) {
  const auto found = metadata.annotations.find(name);
  return found == metadata.annotations.end() ? "" : found->second;
}

void VolumeReconciler::tell(const api::Volume& volume, api::EventType type, std::string reason, std::string message,
                            std::string action) {
  parts_.events.record(reference_to(volume), type, std::move(reason), std::move(message), std::move(action));
}

// ---- what is wanted -----------------------------------------------------------------------------------------------

storage::Limits VolumeReconciler::limits_for(const api::VolumeClass& volume_class) const {
  return storage::limits_of(capability(volume_class, "iops"), capability(volume_class, "tps"), parts_.options.burst);
}

Result<bool> VolumeReconciler::add_image(const api::Volume& volume, const Offer& offer, storage::VolumeSpec& spec,
                                         Findings& findings, std::stop_token stop) {
  const auto& image = *volume.spec.data_source->os_image;
  const auto key = cache_key(volume.metadata.namespace_, volume.metadata.name);
  bool is_told = false;
  const auto copying = [&](const image::Progress& progress) {
    if (is_told) return;
    is_told = true;
    Findings so_far;
    so_far.trouble = {"ImageNotReady",
                      "image " + image.image + " is being copied into the pool: " + bytes_text(progress.total_bytes)};
    // For people only: what cannot be written now is soon overtaken.
    (void)write_status(volume, so_far);
  };
  const auto base = parts_.images.ensure(*offer.store, image, key, copying, stop);
  if (!base) {
    findings.trouble = Trouble::named("ImagePullFailed", base.error());
    return base.error();
  }
  if (!*base) {
    findings.trouble = {"ImageNotReady", "image " + image.image + " is being copied into the pool for another volume"};
    return false;
  }
  if (is_told)
    tell(volume, api::EventType::normal, "ImagePullSucceeded", "image " + image.image + " is in the pool", "PullImage");
  if ((*base)->size_bytes > spec.size_bytes) {
    findings.trouble = {"ImageSizeIsSmallerThanSnapshotSize",
                        "the volume has " + bytes_text(spec.size_bytes) + ", and image " + image.image + " needs " +
                            bytes_text((*base)->size_bytes) + ": ask for at least that",
                        Trouble::Kind::fault};
    return false;
  }
  spec.source = storage::FromBase{(*base)->digest};
  return true;
}

Result<bool> VolumeReconciler::add_snapshot(const api::Volume& volume, const Offer& offer, storage::VolumeSpec& spec,
                                            Findings& findings) {
  const auto& name = volume.spec.data_source->volume_snapshot_ref->name;
  const auto snapshot = parts_.snapshots.get(cache_key(volume.metadata.namespace_, name));
  if (!snapshot) {
    findings.trouble = {"VolumeSnapshotNotFound", "volume snapshot " + name + " does not exist",
                        Trouble::Kind::failure};
    return false;
  }
  if (snapshot->metadata.deletion_timestamp) {
    findings.trouble = {"VolumeSnapshotNotReady", "volume snapshot " + name + " is being deleted",
                        Trouble::Kind::failure};
    return false;
  }
  if (snapshot->status.state != api::VolumeSnapshotState::ready) {
    findings.trouble = {"VolumeSnapshotNotReady", "volume snapshot " + name + " is not ready yet"};
    return false;
  }
  const auto& metadata = snapshot->metadata;
  const auto place = parts_.options.classes.find(annotation_of(metadata, snapshot_class_annotation));
  if (annotation_of(metadata, snapshot_pool_annotation) != parts_.options.pool ||
      place == parts_.options.classes.end() || place->second != offer.store) {
    findings.trouble = {"VolumeSnapshotElsewhere",
                        "volume snapshot " + name + " is kept in pool " +
                            annotation_of(metadata, snapshot_pool_annotation) + " for class " +
                            annotation_of(metadata, snapshot_class_annotation) +
                            ": make the volume there, with that class",
                        Trouble::Kind::fault};
    return false;
  }
  IRONCORE_TRY(const auto id, block_id(metadata));
  const auto seen = offer.store->snapshot(id);
  if (!seen) {
    findings.trouble = Trouble::of(seen.error(), "VolumeSnapshotNotReady");
    return seen.error();
  }
  if (seen->size_bytes > spec.size_bytes) {
    findings.trouble = {"ImageSizeIsSmallerThanSnapshotSize",
                        "the volume has " + bytes_text(spec.size_bytes) + ", and volume snapshot " + name + " has " +
                            bytes_text(seen->size_bytes) + ": ask for at least that",
                        Trouble::Kind::fault};
    return false;
  }
  storage::FromSnapshot source{.snapshot = id.uid, .key = std::nullopt};
  if (seen->is_encrypted) {
    const auto secret = read_secret(parts_.store, owned_secret_of(*snapshot));
    if (!secret) return secret.error();
    if (!*secret) {
      findings.trouble = {"VolumeEncryptionSecretNotReady",
                          "secret " + owned_secret_of(*snapshot).name + " with the key of volume snapshot " + name +
                              " does not exist; make it again with the key in " + encryption_key_entry};
      findings.look_again = parts_.options.look_again;
      return false;
    }
    const auto key = encryption_key_in(**secret);
    if (!key) {
      findings.trouble = {"VolumeEncryptionSecretNotReady", key.error().message(), Trouble::Kind::fault};
      findings.look_again = parts_.options.look_again;
      return false;
    }
    source.key = *key;
  }
  spec.source = source;
  return true;
}

Result<bool> VolumeReconciler::add_source(const api::Volume& volume, const Offer& offer, storage::VolumeSpec& spec,
                                          Findings& findings, std::stop_token stop) {
  const auto& source = volume.spec.data_source;
  if (source && source->os_image) return add_image(volume, offer, spec, findings, std::move(stop));
  if (source && source->volume_snapshot_ref) return add_snapshot(volume, offer, spec, findings);
  spec.source = storage::Empty{};
  return true;
}

/// The key that is in the volume's own Secret: what the data is encrypted with does not change with the user's Secret.
Result<std::optional<storage::EncryptionKey>> VolumeReconciler::kept_key(const api::Volume& volume,
                                                                         Findings& findings) {
  const auto own = read_secret(parts_.store, owned_secret_of(volume));
  if (own && (!*own || !(*own)->data.contains(encryption_key_entry))) return std::optional<storage::EncryptionKey>();
  const auto key = own ? encryption_key_in(**own) : Result<storage::EncryptionKey>(own.error());
  if (key) return std::optional(*key);
  findings.trouble = Trouble::named("VolumeEncryptionSecretNotReady", key.error());
  return key.error();
}

Result<bool> VolumeReconciler::add_key(const api::Volume& volume, storage::VolumeSpec& spec, Findings& findings) {
  const auto* from_snapshot = std::get_if<storage::FromSnapshot>(&spec.source);
  const bool is_inherited = !volume.spec.encryption && from_snapshot != nullptr && from_snapshot->key;
  if (!volume.spec.encryption && !is_inherited) return true;
  IRONCORE_TRY(spec.key, kept_key(volume, findings));
  if (spec.key) return true;
  if (is_inherited) {
    spec.key = from_snapshot->key;
    tell(volume, api::EventType::normal, "VolumeEncryptionInherited",
         "the volume is encrypted with the key of its volume snapshot", "ConfigureEncryption");
  } else {
    const auto& name = volume.spec.encryption->secret_ref.name;
    const auto secret = store::get<api::Secret>(parts_.store, volume.metadata.namespace_, name);
    if (!secret) {
      findings.trouble = {"VolumeEncryptionSecretNotReady", secret.error().message()};
      if (secret.error().code() != ErrorCode::not_found) return secret.error().within("secret " + name);
      findings.trouble->message = "secret " + name + " does not exist";
      findings.look_again = parts_.options.look_again;
      return false;
    }
    const auto key = encryption_key_in(**secret);
    if (!key) {
      findings.trouble = {"VolumeEncryptionSecretNotReady", key.error().message(), Trouble::Kind::fault};
      findings.look_again = parts_.options.look_again;
      return false;
    }
    spec.key = *key;
  }
  // Before the data, so that no data can be there without its key.
  IRONCORE_CHECK(
      write_secret(parts_.store, owned_secret_of(volume), {{encryption_key_entry, encryption_key_text(*spec.key)}}));
  return true;
}

// ---- the store ----------------------------------------------------------------------------------------------------

Result<void> VolumeReconciler::create(const api::Volume& volume, const Offer& offer, storage::VolumeSpec spec,
                                      Findings& findings, std::stop_token stop) {
  IRONCORE_TRY(const auto id, block_id(volume.metadata));
  IRONCORE_TRY(const bool has_source, add_source(volume, offer, spec, findings, stop));
  if (!has_source) return {};
  IRONCORE_TRY(const bool has_key, add_key(volume, spec, findings));
  if (!has_key) return {};
  const bool is_empty = std::holds_alternative<storage::Empty>(spec.source);
  const auto* action = is_empty ? "CreateImage" : "CreateImageFromSnapshot";
  auto created = offer.store->create(id, spec, {}, std::move(stop));
  if (!created) {
    const auto& error = created.error();
    if (error.code() == ErrorCode::not_found && volume.spec.data_source && volume.spec.data_source->os_image)
      parts_.images.forget(*offer.store, *volume.spec.data_source->os_image);
    findings.trouble = Trouble::of(error, is_empty ? "EmptyImageCreationFailed" : "CreateImageFromSnapshotFailed");
    return error;
  }
  tell(volume, api::EventType::normal, is_empty ? "EmptyImageCreationSucceeded" : "CreateImageFromSnapshotSucceeded",
       "the volume was made with " + bytes_text(created->size_bytes), action);
  if (created->is_encrypted)
    tell(volume, api::EventType::normal, "ConfigureEncryptionSucceeded", "the data of the volume is encrypted",
         "ConfigureEncryption");
  findings.seen = std::move(*created);
  return {};
}

Result<void> VolumeReconciler::adjust(const api::Volume& volume, const Offer& offer, const storage::VolumeSpec& wanted,
                                      Findings& findings) {
  auto& seen = *findings.seen;
  if (wanted.size_bytes < seen.size_bytes) {
    findings.trouble = {"ShrinkRefused",
                        "the volume has " + bytes_text(seen.size_bytes) + " and keeps it: shrinking to " +
                            bytes_text(wanted.size_bytes) +
                            " would lose data; ask for the size it has, or copy what is needed to a smaller volume",
                        Trouble::Kind::fault};
  } else if (wanted.size_bytes > seen.size_bytes) {
    auto expanded = offer.store->expand(seen.id, wanted.size_bytes);
    if (!expanded) {
      findings.trouble = Trouble::of(expanded.error(), "UpdateImageSizeFailed");
      return expanded.error();
    }
    seen = std::move(*expanded);
    tell(volume, api::EventType::normal, "UpdatedImageSizeSucceeded",
         "the volume has " + bytes_text(seen.size_bytes) + " now", "ResizeImage");
  }
  if (wanted.limits != seen.limits) {
    if (const auto set = offer.store->set_limits(seen.id, wanted.limits); !set) {
      findings.trouble = Trouble::of(set.error(), "SetImageLimitFailed");
      return set.error();
    }
    seen.limits = wanted.limits;
    tell(volume, api::EventType::normal, "SetImageLimitSucceeded", "the limits of the class are set", "SetImageLimits");
  }
  return {};
}

/// What a hypervisor needs: in the status, and what is secret in the volume's own Secret.
Result<void> VolumeReconciler::publish(const api::Volume& volume, const Offer& offer, Findings& findings) {
  const auto fail = [&](const Error& error) {
    findings.trouble = Trouble::of(error, "AccessNotReady");
    return error;
  };
  auto access = offer.store->access(findings.seen->id);
  if (!access) return fail(access.error());
  const auto own = owned_secret_of(volume);
  if (findings.seen->is_encrypted) {
    storage::VolumeSpec with;
    IRONCORE_TRY(with.key, kept_key(volume, findings));
    if (!with.key) {  // somebody has removed it: the user may still have it
      IRONCORE_TRY(const bool has_key, add_key(volume, with, findings));
      if (!has_key) return {};
    }
    if (!with.key)
      return fail(Error(ErrorCode::invalid, "secret " + own.name +
                                                " with the key of the volume is gone; make it again with the key in " +
                                                encryption_key_entry + ", owned by the volume"));
    access->secrets[encryption_key_entry] = encryption_key_text(*with.key);
  }
  if (!access->secrets.empty())
    if (const auto written = write_secret(parts_.store, own, access->secrets); !written) return fail(written.error());
  api::VolumeAccess told;
  told.driver = access->driver;
  told.handle = access->handle;
  told.volume_attributes = access->attributes;
  if (!access->secrets.empty()) told.secret_ref = api::LocalReference{.name = own.name};
  findings.access = std::move(told);
  return {};
}

Result<void> VolumeReconciler::make(const api::Volume& volume, Findings& findings, std::stop_token stop) {
  const auto offer = offer_for(volume, parts_.options, parts_.classes, findings.trouble);
  if (!offer) return {};
  const auto asked = volume.spec.resources.find("storage");
  const auto size = asked == volume.spec.resources.end() || asked->second.sign() <= 0
                        ? std::nullopt
                        : storage::rounded_size(static_cast<std::uint64_t>(asked->second.value()));
  if (!size) {
    findings.trouble = {"InvalidSize",
                        "spec.resources.storage must be from 1 to " + bytes_text(storage::max_size) + " bytes",
                        Trouble::Kind::fault};
    return {};
  }
  IRONCORE_TRY(const auto id, block_id(volume.metadata));
  auto seen = offer->store->volume(id);
  if (!seen && seen.error().code() != ErrorCode::not_found) {
    findings.trouble = Trouble::of(seen.error(), "StoreFailed");
    return seen.error();
  }
  storage::VolumeSpec wanted{.size_bytes = *size, .source = {}, .key = {}, .limits = limits_for(*offer->of_class)};
  if (seen) {
    findings.seen = std::move(*seen);
  } else if (!volume.status.volume_id.empty()) {
    // A new one in its place would be empty, and nobody would notice.
    findings.is_lost = true;
    findings.trouble = {
        "VolumeLost",
        "the volume was there and is not in its store any more; bring its data back, or delete the volume",
        Trouble::Kind::fault};
    return Error(ErrorCode::not_found, "volume " + id.uid.to_text() + " is not in its store any more");
  } else {
    IRONCORE_CHECK(create(volume, *offer, wanted, findings, std::move(stop)));
    if (!findings.seen) return {};
  }
  const auto adjusted = adjust(volume, *offer, wanted, findings);
  IRONCORE_CHECK(publish(volume, *offer, findings));
  return adjusted;
}

Result<Requeue> VolumeReconciler::bring_up(const api::Volume& volume, std::stop_token stop) {
  Findings findings;
  const auto made = make(volume, findings, stop);
  if (!made && (stop.stop_requested() || made.error().code() == ErrorCode::conflict)) return made.error();
  if (!made && !findings.trouble)
    findings.trouble = {"ReconcileFailed", made.error().message(), Trouble::Kind::failure};
  return end_turn(made, write_status(volume, findings), findings.look_again);
}

// ---- the end ------------------------------------------------------------------------------------------------------

/// `findings.kept`: somebody has it open.
Result<void> VolumeReconciler::remove_data(const api::Volume& volume, const storage::BlockId& id, Findings& findings) {
  for (auto* store : stores_of(parts_.options, volume.spec.volume_class_ref->name)) {
    const auto removed = store->remove(id);
    if (removed) continue;
    if (removed.error().code() != ErrorCode::wrong_state) {
      findings.kept = Trouble::of(removed.error(), "ImageDeletionFailed");
      return removed.error();
    }
    std::string names;
    if (const auto clients = store->clients(id))
      for (const auto& client : *clients) {
        names += (names.empty() ? "" : ", ") + client.name;
        if (!client.address.empty()) names += " at " + client.address;
      }
    findings.kept = {"InUse", names.empty() ? removed.error().message()
                                            : "the volume is removed when nobody has it open any more: " + names};
    return {};
  }
  return {};
}

Result<Requeue> VolumeReconciler::tear_down(const api::Volume& volume) {
  if (!has_finalizer(volume.metadata, api::volume_finalizer)) return Requeue{};
  Findings findings;
  if (is_claimed(volume)) {
    findings.kept = {"Claimed", "the volume is used by machine " + volume.spec.claim_ref->name +
                                    "; it is removed when the machine has released it"};
    IRONCORE_CHECK(write_status(volume, findings));
    return Requeue{};
  }
  IRONCORE_TRY(const auto id, block_id(volume.metadata));
  const auto removed = remove_data(volume, id, findings);
  if (!removed || findings.kept) return end_turn(removed, write_status(volume, findings), parts_.options.look_again);
  tell(volume, api::EventType::normal, "ImageDeletionSucceeded", "the data of the volume is gone", "DeleteImage");
  IRONCORE_CHECK(remove_secret(parts_.store, owned_secret_of(volume)));
  IRONCORE_CHECK(writes_.let_go(volume, api::volume_finalizer));
  return Requeue{};
}

// ---- what is told -------------------------------------------------------------------------------------------------

Result<void> VolumeReconciler::write_status(const api::Volume& volume, const Findings& findings) {
  const auto current = writes_.newest_of(volume);
  if (!current) return {};
  StatusDraft<api::Volume> draft(*current, parts_.events, parts_.clock.wall());
  auto& status = draft.object.status;
  if (findings.seen) {
    status.volume_id = parts_.options.type + "://" + volume.metadata.uid;
    status.resources = {{"storage", Quantity::bytes(static_cast<std::int64_t>(findings.seen->size_bytes))}};
  }
  if (findings.access) status.access = findings.access;
  const bool is_usable = status.access && !status.volume_id.empty() && !findings.is_lost;
  if (findings.kept) {
    draft.condition("Removable", findings.kept, "", "");
  } else if (is_usable) {
    draft.condition("Ready", std::nullopt, "Available", "the volume can be used");
    draft.condition("UpToDate", findings.trouble, "UpToDate", "size and limits are as they are wanted");
  } else if (findings.trouble) {
    draft.condition("Ready", findings.trouble, "", "");
  }
  if (!findings.kept) draft.state(is_usable, findings.trouble);
  return writes_.write_status(*current, std::move(draft.object));
}

Result<Requeue> VolumeReconciler::reconcile(const std::string& key, std::stop_token stop) {
  auto volume = writes_.newest(key);
  if (!volume || !is_provided_here(*volume, api::volume_finalizer)) return Requeue{};
  if (volume->metadata.deletion_timestamp) return tear_down(*volume);
  if (parts_.options.classes.contains(volume->spec.volume_class_ref->name)) {
    IRONCORE_TRY(volume, writes_.keep(volume, api::volume_finalizer));
  }
  return bring_up(*volume, std::move(stop));
}

}  // namespace ironcore::control
