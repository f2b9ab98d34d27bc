-- Messages of campaigns that may not go yet: taken out of their queue, and put back into it when they may.
CREATE TABLE IF NOT EXISTS `wafleet_parked` (
    -- Given anew whenever a message is parked again: whoever put the old row back deletes only that.
    `id` BIGINT UNSIGNED NOT NULL AUTO_INCREMENT,
    `workspace_id` BIGINT UNSIGNED NOT NULL,
    `command_id` VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
    `campaign` VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
    -- It waits for the campaign to be resumed, and not only for `due_at`.
    `paused` TINYINT UNSIGNED NOT NULL,
    -- Whatever the campaign does, it goes back then: the end of quiet hours, or of its own life.
    `due_at` DATETIME(3) NOT NULL,
    -- Routing key, properties and signed headers, as JSON.
    `letter` MEDIUMTEXT NOT NULL,
    `body` MEDIUMBLOB NOT NULL,
    -- Who puts it back just now, and until when others leave it to him.
    `taken_by` VARCHAR(160) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NULL,
    `taken_until` DATETIME(3) NULL,
    PRIMARY KEY (`id`),
    UNIQUE KEY `wafleet_parked_workspace_id_command_id_unique` (`workspace_id`, `command_id`),
    KEY `wafleet_parked_workspace_id_campaign_paused_index` (`workspace_id`, `campaign`, `paused`),
    KEY `wafleet_parked_due_at_index` (`due_at`),
    KEY `wafleet_parked_taken_by_index` (`taken_by`)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_unicode_ci COMMENT = 'created by wafleet';
