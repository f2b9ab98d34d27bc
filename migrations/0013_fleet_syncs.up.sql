-- What of a session's past is being told, and how far that has come: one row for each session, so that the next owner goes on.
CREATE TABLE IF NOT EXISTS `wafleet_syncs` (
    `session_id` VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
    `workspace_id` BIGINT UNSIGNED NOT NULL,
    -- The command's id, or one of its own where linking began it.
    `sync_id` VARCHAR(128) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
    `by_command` TINYINT UNSIGNED NOT NULL,
    -- What the caller wants echoed, in its own characters.
    `metadata` MEDIUMTEXT NULL,
    -- What was asked for; NULL is all.
    `chats` BIGINT UNSIGNED NULL,
    `days` BIGINT UNSIGNED NULL,
    `messages` BIGINT UNSIGNED NOT NULL,
    `with_groups` TINYINT UNSIGNED NOT NULL,
    -- The chats in their order, as JSON; NULL before the page was asked, and again when it is over.
    `plan` MEDIUMTEXT NULL,
    -- How many of them are told, and of how many the messages are told.
    `chats_told` BIGINT UNSIGNED NOT NULL DEFAULT 0,
    `chats_done` BIGINT UNSIGNED NOT NULL DEFAULT 0,
    `messages_told` BIGINT UNSIGNED NOT NULL DEFAULT 0,
    `groups_told` BIGINT UNSIGNED NOT NULL DEFAULT 0,
    -- The last group that was told.
    `group_cursor` VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NULL,
    -- running | done
    `state` VARCHAR(16) NOT NULL,
    -- The fence of the owner that wrote last; a smaller one writes nothing.
    `fence` BIGINT UNSIGNED NOT NULL,
    `started_at` DATETIME(3) NOT NULL,
    `updated_at` DATETIME(3) NOT NULL,
    PRIMARY KEY (`session_id`)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_unicode_ci COMMENT = 'created by wafleet';

-- Sessions that were linked before are not taken for new ones.
INSERT IGNORE INTO `wafleet_syncs` (`session_id`, `workspace_id`, `sync_id`, `by_command`, `messages`, `with_groups`, `state`, `fence`, `started_at`, `updated_at`)
SELECT `session_id`, `workspace_id`, 'none', 0, 0, 0, 'done', 0, UTC_TIMESTAMP(3), UTC_TIMESTAMP(3)
FROM `wafleet_sessions` WHERE `linked_at` IS NOT NULL;
