-- Sealed profiles that lie in an object store instead of in chunk rows. The snapshot's own row keeps its header, figures,
-- state and fence; this one says where its bytes are.
CREATE TABLE IF NOT EXISTS `wafleet_snapshot_objects` (
    `id` BIGINT UNSIGNED NOT NULL AUTO_INCREMENT,
    -- NULL once the snapshot is deleted: then the object is to be deleted from the store, and this row after it.
    `snapshot_id` BIGINT UNSIGNED NULL,
    -- The object's key in the bucket.
    `object` VARCHAR(512) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
    -- The multipart upload that writes it, so that one which never came to its end can be cancelled.
    `upload_id` VARCHAR(1024) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NULL,
    -- What the store called the finished object, for people who look for it there.
    `etag` VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NULL,
    `created_at` DATETIME(3) NOT NULL DEFAULT (UTC_TIMESTAMP(3)),
    PRIMARY KEY (`id`),
    UNIQUE KEY `wafleet_snapshot_objects_snapshot_id_unique` (`snapshot_id`),
    CONSTRAINT `wafleet_snapshot_objects_snapshot_id_foreign` FOREIGN KEY (`snapshot_id`) REFERENCES `wafleet_snapshots` (`id`) ON DELETE SET NULL
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_unicode_ci COMMENT = 'created by wafleet';
