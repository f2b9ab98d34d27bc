-- Sealed profiles: what lets a session move to another machine without a new QR. Nothing in these tables is readable
-- without the workers' ring of profile keys.

-- One row per snapshot. It counts only once it is `complete`: all of its chunks are there, and its owner's fence was the
-- newest when it was switched on.
CREATE TABLE IF NOT EXISTS `wafleet_snapshots` (
    `id` BIGINT UNSIGNED NOT NULL AUTO_INCREMENT,
    `session_id` VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
    `workspace_id` BIGINT UNSIGNED NOT NULL,
    -- Grows by one with every snapshot of the session.
    `generation` BIGINT UNSIGNED NOT NULL,
    -- The owner that wrote it.
    `fence` BIGINT UNSIGNED NOT NULL,
    -- writing | complete
    `state` VARCHAR(16) NOT NULL DEFAULT 'writing',
    -- The ring key that wraps its data key.
    `key_id` VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
    `header` BLOB NOT NULL,
    -- Of all chunks together, sealed.
    `bytes` BIGINT UNSIGNED NOT NULL DEFAULT 0,
    `chunks` BIGINT UNSIGNED NOT NULL DEFAULT 0,
    -- Over all chunks, so that a copy can be checked without any key.
    `sha256` BINARY(32) NULL,
    -- The fence under which the device was found unlinked: kept for a while, never restored.
    `unlinked_fence` BIGINT UNSIGNED NULL,
    `unlinked_at` DATETIME(3) NULL,
    `created_at` DATETIME(3) NOT NULL DEFAULT (UTC_TIMESTAMP(3)),
    `completed_at` DATETIME(3) NULL,
    PRIMARY KEY (`id`),
    UNIQUE KEY `wafleet_snapshots_session_id_generation_unique` (`session_id`, `generation`),
    KEY `wafleet_snapshots_key_id_id_index` (`key_id`, `id`),
    KEY `wafleet_snapshots_unlinked_at_index` (`unlinked_at`)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_unicode_ci COMMENT = 'created by wafleet';

-- 256 KiB a row and a little more, far below the packet that either server takes by default.
CREATE TABLE IF NOT EXISTS `wafleet_snapshot_chunks` (
    `snapshot_id` BIGINT UNSIGNED NOT NULL,
    `seq` INT UNSIGNED NOT NULL,
    `data` MEDIUMBLOB NOT NULL,
    PRIMARY KEY (`snapshot_id`, `seq`),
    CONSTRAINT `wafleet_snapshot_chunks_snapshot_id_foreign` FOREIGN KEY (`snapshot_id`) REFERENCES `wafleet_snapshots` (`id`) ON DELETE CASCADE
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_unicode_ci COMMENT = 'created by wafleet';

-- The key that a session has of its own, wrapped by the ring. Without its row no snapshot of the session opens.
CREATE TABLE IF NOT EXISTS `wafleet_session_keys` (
    `session_id` VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
    `workspace_id` BIGINT UNSIGNED NOT NULL,
    `key_id` VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
    `wrapped` VARBINARY(255) NOT NULL,
    `created_at` DATETIME(3) NOT NULL DEFAULT (UTC_TIMESTAMP(3)),
    `updated_at` DATETIME(3) NOT NULL DEFAULT (UTC_TIMESTAMP(3)),
    PRIMARY KEY (`session_id`),
    KEY `wafleet_session_keys_key_id_session_id_index` (`key_id`, `session_id`)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_unicode_ci COMMENT = 'created by wafleet';

-- What was erased, by whom and why. Names nobody: the session's id is hashed. Written once.
CREATE TABLE IF NOT EXISTS `wafleet_erasures` (
    `id` BIGINT UNSIGNED NOT NULL AUTO_INCREMENT,
    -- SHA-256 of workspace id, a zero byte and session id.
    `session_sha256` BINARY(32) NOT NULL,
    -- Owners up to this fence are covered: what they left on a disk goes too, whenever that disk is seen again.
    `fence` BIGINT UNSIGNED NOT NULL,
    `at` DATETIME(3) NOT NULL DEFAULT (UTC_TIMESTAMP(3)),
    `erased_by` VARCHAR(128) NOT NULL,
    `why` VARCHAR(512) NOT NULL,
    `snapshots` INT UNSIGNED NOT NULL DEFAULT 0,
    PRIMARY KEY (`id`),
    KEY `wafleet_erasures_session_sha256_index` (`session_sha256`)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_unicode_ci COMMENT = 'created by wafleet';
