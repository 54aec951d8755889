// SPDX-License-Identifier: Apache-2.0
// Class, finalizer, source, key, store, access, status: the steps of one volume.
#include "volume_reconciler.hpp"

#include <algorithm>

#include "ironcore/base/byte_text.hpp"
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

/// Volumes that do not say how they are encrypted get a key.
bool is_encrypting(const api::VolumeClass& volume_class) {
  return annotation_of(volume_class.metadata, api::class_encryption_annotation) == "generated";
}

bool is_claimed(const api::Volume& volume) {
  return volume.spec.claim_ref && !volume.spec.claim_ref->uid.empty();
}

}  // namespace

Result<storage::BlockId> block_id(const api::Metadata& metadata) {
  IRONCORE_TRY(const auto uid, Uid::parse(metadata.uid));
  return storage::BlockId{.tenant = metadata.namespace_, .uid = uid};
}

std::string annotation_of(const api::Metadata& metadata, std::string_view name) {
  const auto found = metadata.annotations.find(std::string(name));
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
    parts_.note_progress();
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
    IRONCORE_TRY(source.key, parts_.keys.find_for({*offer.store, id}, *snapshot, findings.trouble));
    if (!source.key) {
      findings.trouble = {"VolumeEncryptionSecretNotReady", parts_.keys.lost(*snapshot).message};
      findings.look_again = parts_.options.look_again;
      return false;
    }
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

/// The key that the user has put into a Secret; nothing if it is not there yet.
Result<std::optional<storage::EncryptionKey>> VolumeReconciler::users_key(const api::Volume& volume,
                                                                          Findings& findings) {
  const std::optional<storage::EncryptionKey> none;
  const auto& name = volume.spec.encryption->secret_ref.name;
  const auto secret = store::get<api::Secret>(parts_.store, volume.metadata.namespace_, name);
  if (!secret) {
    findings.trouble = {"VolumeEncryptionSecretNotReady", secret.error().message()};
    if (secret.error().code() != ErrorCode::not_found) return secret.error().within("secret " + name);
    findings.trouble->message =
        "secret " + name + " does not exist: make it, with the key of the volume, 256 bits in base64, in the entry " +
        encryption_key_entry;
    findings.look_again = parts_.options.look_again;
    return none;
  }
  auto key = encryption_key_in(**secret);
  if (key && volume.status.volume_id.empty())
    if (const auto random = check_random(*key, **secret); !random) key = random.error();
  if (!key) {
    findings.trouble = {"VolumeEncryptionSecretNotReady", key.error().message(), Trouble::Kind::fault};
    findings.look_again = parts_.options.look_again;
    return none;
  }
  return std::optional(*key);
}

/// What the data is encrypted with, if it shall be: decided once, before there is any. It does not change with the user's Secret, nor with the class.
Result<bool> VolumeReconciler::add_key(const api::Volume& volume, const api::VolumeClass& volume_class,
                                       storage::VolumeSpec& spec, Findings& findings) {
  const auto* from_snapshot = std::get_if<storage::FromSnapshot>(&spec.source);
  const auto& encryption = volume.spec.encryption;
  const bool is_inherited = !encryption && from_snapshot != nullptr && from_snapshot->key;
  if (!encryption && !is_inherited && !is_encrypting(volume_class)) return true;
  IRONCORE_TRY(spec.key, parts_.keys.find(volume, findings.trouble));
  if (spec.key) return true;
  if (is_inherited) {
    spec.key = from_snapshot->key;
    tell(volume, api::EventType::normal, "VolumeEncryptionInherited",
         "the volume is encrypted with the key of its volume snapshot", "ConfigureEncryption");
  } else if (encryption && !encryption->secret_ref.name.empty()) {
    IRONCORE_TRY(spec.key, users_key(volume, findings));
    if (!spec.key) return false;
  } else if (!parts_.keys.is_wrapping()) {
    findings.trouble = {"KeyManagementMissing",
                        "the provider of pool " + parts_.options.pool +
                            " generates no keys, because it has nothing to wrap them with; give it keys, or the "
                            "volume a Secret with a key",
                        Trouble::Kind::fault};
    return false;
  } else {
    spec.key = storage::EncryptionKey::random();
  }
  // Before the data, so that no data can be there without its key.
  IRONCORE_TRY(spec.key, parts_.keys.keep(volume, *spec.key, findings.trouble));
  return true;
}

void VolumeReconciler::Findings::take(const VolumeHandover::Outcome& outcome) {
  access = outcome.access;
  in_the_way = outcome.in_the_way;
  if (outcome.trouble) {
    trouble = outcome.trouble;
    // What will be tried again says nothing about the data.
    if (trouble->kind == Trouble::Kind::fault) use = Use::none;
  } else if (outcome.access) {
    use = Use::good;
  }
  if (outcome.look_again) look_again = outcome.look_again;
}

// ---- the store ----------------------------------------------------------------------------------------------------

/// What was refused has lost what it was promised, perhaps to others.
Result<bool> VolumeReconciler::find_room(const api::Volume& volume, const Offer& offer, std::uint64_t size,
                                         Findings& findings) {
  if (!PlacedKind<api::Volume>::is_refused(volume)) return true;
  const auto answer = growth_.ask(volume, *offer.store, 0, size);
  if (!answer) {
    findings.trouble = Trouble::of(answer.error(), "StoreFailed");
    findings.trouble->kind = Trouble::Kind::fault;  // nothing is promised yet
    return answer.error();
  }
  if (answer->is_granted) return true;
  findings.trouble = {"OutOfCapacity",
                      "pool " + parts_.options.pool + " has room for " + byte_text(answer->room) +
                          " more of volume class " + offer.of_class->metadata.name + ", and the volume asks for " +
                          bytes_text(size) + "; it is made when there is room, or make a smaller one",
                      Trouble::Kind::fault};
  findings.look_again = parts_.options.look_again;
  return false;
}

Result<void> VolumeReconciler::create(const api::Volume& volume, const Offer& offer, storage::VolumeSpec spec,
                                      Findings& findings, std::stop_token stop) {
  IRONCORE_TRY(const auto id, block_id(volume.metadata));
  // What can never be comes before what is missing.
  if (volume.spec.encryption || is_encrypting(*offer.of_class))
    if (const auto can = offer.store->check_encryption(); !can) {
      findings.trouble = Trouble::of(can.error(), "EncryptionUnsupported");
      return can.error();
    }
  IRONCORE_TRY(const bool has_source, add_source(volume, offer, spec, findings, stop));
  if (!has_source) return {};
  IRONCORE_TRY(const bool has_key, add_key(volume, *offer.of_class, spec, findings));
  if (!has_key) return {};
  const bool is_empty = std::holds_alternative<storage::Empty>(spec.source);
  const auto* action = is_empty ? "CreateImage" : "CreateImageFromSnapshot";
  const auto copying = [this](const image::Progress&) { parts_.note_progress(); };
  auto created = offer.store->create(id, spec, copying, std::move(stop));
  if (!created) {
    const auto& error = created.error();
    if (error.code() == ErrorCode::not_found && volume.spec.data_source && volume.spec.data_source->os_image)
      parts_.images.forget(*offer.store, *volume.spec.data_source->os_image);
    findings.trouble = Trouble::of(error, is_empty ? "EmptyImageCreationFailed" : "CreateImageFromSnapshotFailed");
    return error;
  }
  tell(volume, api::EventType::normal, is_empty ? "EmptyImageCreationSucceeded" : "CreateImageFromSnapshotSucceeded",
       "the volume was made with " + bytes_text(created->size_bytes), action);
  if (spec.key) parts_.keys.note(id, *spec.key);
  if (created->is_encrypted)
    tell(volume, api::EventType::normal, "ConfigureEncryptionSucceeded", "the data of the volume is encrypted",
         "ConfigureEncryption");
  findings.seen = std::move(*created);
  return {};
}

Result<void> VolumeReconciler::grow(const api::Volume& volume, const Offer& offer, std::uint64_t size,
                                    Findings& findings) {
  auto& seen = *findings.seen;
  const auto answer = growth_.ask(volume, *offer.store, seen.size_bytes, size);
  if (!answer) {
    findings.trouble = Trouble::of(answer.error(), "UpdateImageSizeFailed");
    return answer.error();
  }
  if (!answer->is_granted) {
    findings.trouble = {"OutOfCapacity",
                        "the volume has " + bytes_text(seen.size_bytes) + " and cannot grow to " + bytes_text(size) +
                            " now: pool " + parts_.options.pool + " has room for " + byte_text(answer->room) +
                            " more of volume class " + offer.of_class->metadata.name +
                            "; it grows when there is room, and until then " +
                            "spec.resources.storage can be lowered again, down to what it has",
                        Trouble::Kind::failure};
    findings.look_again = parts_.options.look_again;
    return {};
  }
  auto expanded = offer.store->expand(seen.id, size);
  if (!expanded) {
    growth_.take_back(volume.metadata.uid);
    findings.trouble = Trouble::of(expanded.error(), "UpdateImageSizeFailed");
    return expanded.error();
  }
  seen = std::move(*expanded);
  tell(volume, api::EventType::normal, "UpdatedImageSizeSucceeded",
       "the volume has " + bytes_text(seen.size_bytes) + " now", "ResizeImage");
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
    IRONCORE_CHECK(grow(volume, offer, wanted.size_bytes, findings));
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
  VolumeHandover::Outcome outcome;
  // What is as it shall be is said at once. Trouble is told once, when it is clear how far the turn came.
  const auto say = [&](api::VolumeStatus& status) {
    auto known = findings;
    known.take(outcome);
    if (known.trouble || known.in_the_way) return;
    auto current = volume;
    current.status = status;
    status = status_of(current, known);
  };
  auto handed = handover_.turn(volume, *offer.store, *findings.seen, outcome, say);
  const auto& encryption = volume.spec.encryption;
  if (!handed && outcome.trouble && outcome.trouble->reason == key_is_lost && encryption &&
      !encryption->secret_ref.name.empty()) {
    // Somebody has removed what was kept: the user may still have it, or have another one by now.
    Findings users;
    IRONCORE_TRY(const auto key, users_key(volume, users));
    bool is_it = false;
    if (key) {
      IRONCORE_TRY(is_it, parts_.keys.opens({*offer.store, findings.seen->id}, *key, findings.trouble));
    }
    if (is_it) {
      IRONCORE_CHECK(parts_.keys.bring_back(volume, *key, findings.trouble));
      outcome = {};
      handed = handover_.turn(volume, *offer.store, *findings.seen, outcome, say);
    } else {
      outcome.trouble->message += "; secret " + encryption->secret_ref.name + " does not have it either";
    }
  }
  findings.take(outcome);
  return handed;
}

Result<void> VolumeReconciler::make(const api::Volume& volume, Findings& findings, std::stop_token stop) {
  const auto offer = offer_for(volume, parts_.options, parts_.classes, findings.trouble);
  if (!offer) return {};
  const auto asked = volume.spec.resources.find("storage");
  const auto size = asked == volume.spec.resources.end() || asked->second.sign() <= 0
                        ? std::nullopt
                        : storage::rounded_size(static_cast<std::uint64_t>(asked->second.value()));
  const bool was_made = !volume.status.volume_id.empty();
  if (!size) {
    findings.trouble = {"InvalidSize",
                        "spec.resources.storage must be from 1 to " + bytes_text(storage::max_size) + " bytes" +
                            (was_made ? "; it can be lowered again, down to what the volume has" : ""),
                        Trouble::Kind::fault};
    if (!was_made) return {};
  }
  IRONCORE_TRY(const auto id, block_id(volume.metadata));
  auto seen = offer->store->volume(id);
  if (!seen && seen.error().code() != ErrorCode::not_found) {
    findings.trouble = Trouble::of(seen.error(), "StoreFailed");
    if (seen.error().code() == ErrorCode::corrupt) {
      findings.trouble = {"VolumeDamaged", seen.error().message(), Trouble::Kind::fault};
      findings.use = Findings::Use::none;
    }
    return seen.error();
  }
  storage::VolumeSpec wanted{
      .size_bytes = size.value_or(0), .source = {}, .key = {}, .limits = limits_for(*offer->of_class)};
  if (seen) {
    findings.seen = std::move(*seen);
    if (!size) wanted.size_bytes = findings.seen->size_bytes;
  } else if (was_made) {
    // A new one in its place would be empty, and nobody would notice.
    findings.use = Findings::Use::none;
    findings.trouble = {"VolumeLost",
                        "the volume was there and is not in its store any more: " + seen.error().message() +
                            "; bring its data back there under the same name, or delete the volume",
                        Trouble::Kind::fault};
    return Error(ErrorCode::not_found, "volume " + id.uid.to_text() + " is not in its store any more");
  } else {
    IRONCORE_TRY(const bool has_room, find_room(volume, *offer, wanted.size_bytes, findings));
    if (!has_room) return {};
    const auto created = create(volume, *offer, wanted, findings, std::move(stop));
    if (findings.trouble && findings.trouble->kind == Trouble::Kind::fault) growth_.take_back(volume.metadata.uid);
    if (!findings.seen) return created;
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
    auto removed = store->remove(id);
    if (!removed && removed.error().code() == ErrorCode::wrong_state) {
      // Those of a dead host would have it open for ever.
      IRONCORE_TRY(const bool is_clear, handover_.clear_way(volume, *store, id));
      if (is_clear) removed = store->remove(id);
    }
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

/// Whoever has claimed it before it was deleted gets it, and keeps it until it lets go.
Result<void> VolumeReconciler::hand_over_last(const api::Volume& volume, Findings& findings) {
  const auto offered = parts_.options.classes.find(volume.spec.volume_class_ref->name);
  if (offered == parts_.options.classes.end() || volume.status.volume_id.empty()) return {};
  IRONCORE_TRY(const auto id, block_id(volume.metadata));
  IRONCORE_TRY(const auto seen, offered->second->volume(id));
  VolumeHandover::Outcome outcome;
  const auto handed = handover_.turn(volume, *offered->second, seen, outcome, {});
  findings.look_again = outcome.look_again;
  return handed;
}

Result<Requeue> VolumeReconciler::tear_down(const api::Volume& volume) {
  if (!has_finalizer(volume.metadata, api::volume_finalizer)) return Requeue{};
  Findings findings;
  if (is_claimed(volume)) {
    findings.kept = {"Claimed", "the volume is used by machine " + volume.spec.claim_ref->name +
                                    "; it is removed when the machine has released it"};
    return end_turn(hand_over_last(volume, findings), write_status(volume, findings), findings.look_again);
  }
  IRONCORE_TRY(const auto id, block_id(volume.metadata));
  const auto removed = remove_data(volume, id, findings);
  if (!removed || findings.kept) return end_turn(removed, write_status(volume, findings), parts_.options.look_again);
  tell(volume, api::EventType::normal, "ImageDeletionSucceeded", "the data of the volume is gone", "DeleteImage");
  IRONCORE_CHECK(parts_.keys.remove(volume));
  IRONCORE_CHECK(writes_.let_go(volume, api::volume_finalizer));
  return Requeue{};
}

// ---- what is told -------------------------------------------------------------------------------------------------

api::VolumeStatus VolumeReconciler::status_of(const api::Volume& current, const Findings& findings) {
  StatusDraft<api::Volume> draft(current, parts_.events, parts_.clock.wall());
  auto& status = draft.object.status;
  if (findings.seen) {
    status.volume_id = parts_.options.type + "://" + current.metadata.uid;
    status.resources = {{"storage", Quantity::bytes(static_cast<std::int64_t>(findings.seen->size_bytes))}};
  }
  if (findings.access) status.access = findings.access;
  using Use = Findings::Use;
  const bool was_made = status.access && !status.volume_id.empty();
  // Without news it stays as it was.
  const bool is_there = was_made && (findings.use == Use::good ||
                                     (findings.use == Use::unknown && status.state != api::VolumeState::pending));
  if (findings.kept) {
    draft.condition("Removable", findings.kept, "", "");
    return std::move(draft.object.status);
  }
  if (is_there) {
    if (findings.use == Use::good) {
      draft.condition("Ready", std::nullopt, "Available", "the volume can be used");
      draft.state(true, findings.trouble);
    }
    draft.condition("UpToDate", findings.trouble, "UpToDate", "size and limits are as they are wanted");
    if (findings.in_the_way || api::find_condition(status.conditions, "Attachable") != nullptr)
      draft.condition("Attachable", findings.in_the_way, "Attachable", "the machine that claims the volume may use it");
    return std::move(draft.object.status);
  }
  if (findings.trouble) draft.condition("Ready", findings.trouble, "", "");
  if (was_made && findings.trouble) {
    // The same, and told once: whatever else was said is not known any more.
    (void)set_condition(status.conditions, "UpToDate", findings.trouble, "", "", parts_.clock.wall());
    if (findings.in_the_way)
      draft.condition("Attachable", findings.in_the_way, "", "");
    else
      std::erase_if(status.conditions, [](const auto& one) { return one.type == "Attachable"; });
  }
  draft.state(false, findings.trouble);
  return std::move(draft.object.status);
}

Result<void> VolumeReconciler::write_status(const api::Volume& volume, const Findings& findings) {
  const auto current = writes_.newest_of(volume);
  if (!current) return {};
  auto after = *current;
  after.status = status_of(*current, findings);
  return writes_.write_status(*current, std::move(after));
}

Result<Requeue> VolumeReconciler::reconcile(const std::string& key, std::stop_token stop) {
  const OwnWrites<api::Volume>::Turn turn(writes_, key, parts_.wake);
  auto volume = writes_.newest(key);
  if (!volume || !is_provided_here(*volume, api::volume_finalizer)) return Requeue{};
  if (volume->metadata.deletion_timestamp) return tear_down(*volume);
  if (parts_.options.classes.contains(volume->spec.volume_class_ref->name)) {
    IRONCORE_TRY(volume, writes_.keep(volume, api::volume_finalizer));
  }
  return bring_up(*volume, std::move(stop));
}

}  // namespace ironcore::control
