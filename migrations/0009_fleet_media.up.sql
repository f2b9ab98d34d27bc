-- Media that came with messages: what is still to be fetched from WhatsApp, what lies in the object store and for how long.
CREATE TABLE IF NOT EXISTS `wafleet_media` (
    `id` BIGINT UNSIGNED NOT NULL AUTO_INCREMENT,
    `session_id` VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
    `workspace_id` BIGINT UNSIGNED NOT NULL,
    -- WhatsApp's key of the message, its chat, and what kind of message it is.
    `message_key` VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
    `chat_id` VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
    `kind` VARCHAR(32) NOT NULL,
    `message_at` BIGINT UNSIGNED NOT NULL,
    -- As its sender told it.
    `told_size` BIGINT UNSIGNED NULL,
    -- pending | available | failed
    `state` VARCHAR(16) NOT NULL DEFAULT 'pending',
    `attempts` INT UNSIGNED NOT NULL DEFAULT 0,
    `due_at` DATETIME(3) NOT NULL DEFAULT (UTC_TIMESTAMP(3)),
    -- Why it failed.
    `reason` VARCHAR(32) NULL,
    -- The object's key below the fleet's prefix, and the upload that writes it until it is whole.
    `object` VARCHAR(512) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NULL,
    `upload_id` VARCHAR(1024) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NULL,
    `mime` VARCHAR(255) NULL,
    `size` BIGINT UNSIGNED NULL,
    `sha256` BINARY(32) NULL,
    -- After it the object is deleted, and this row after the object.
    `expires_at` DATETIME(3) NULL,
    -- When its event was confirmed by the broker.
    `told_at` DATETIME(3) NULL,
    `created_at` DATETIME(3) NOT NULL DEFAULT (UTC_TIMESTAMP(3)),
    PRIMARY KEY (`id`),
    UNIQUE KEY `wafleet_media_session_id_message_key_unique` (`session_id`, `message_key`),
    KEY `wafleet_media_session_id_told_at_due_at_index` (`session_id`, `told_at`, `due_at`),
    KEY `wafleet_media_expires_at_index` (`expires_at`)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_unicode_ci COMMENT = 'created by wafleet';
