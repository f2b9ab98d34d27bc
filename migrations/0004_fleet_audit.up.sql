-- Who did what, and what was refused and why. Written once, never updated: the worker's account needs INSERT and SELECT only.
CREATE TABLE IF NOT EXISTS `wafleet_audit` (
    `id` BIGINT UNSIGNED NOT NULL AUTO_INCREMENT,
    `at` DATETIME(3) NOT NULL DEFAULT (UTC_TIMESTAMP(3)),
    -- NULL where the input was too broken to name one.
    `workspace_id` BIGINT UNSIGNED NULL,
    `session_id` VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NULL,
    `command_id` VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NULL,
    `actor` VARCHAR(128) NOT NULL,
    `action` VARCHAR(64) NOT NULL,
    `reason` VARCHAR(64) NULL,
    `detail` JSON NULL,
    PRIMARY KEY (`id`),
    KEY `wafleet_audit_at_index` (`at`),
    KEY `wafleet_audit_workspace_id_at_index` (`workspace_id`, `at`),
    KEY `wafleet_audit_session_id_at_index` (`session_id`, `at`)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_unicode_ci COMMENT = 'created by wafleet';
