<?php

namespace Wafleet\Laravel\Host;

/** The changes of the host's schema, in order. */
final class Schema
{
    /** Columns that the fleet or this package writes, in the types of the fleet's own migration. */
    private const SESSION_COLUMNS = [
        'phone_number' => 'VARCHAR(50) NULL', 'status_since' => 'DATETIME(3) NULL', 'status_cause' => 'VARCHAR(64) NULL', 'qr_code' => 'TEXT NULL',
        'qr_expires_at' => 'DATETIME(3) NULL', 'session_data' => 'LONGTEXT NULL', 'last_activity_at' => 'DATETIME(3) NULL',
        'last_connected_at' => 'DATETIME(3) NULL', 'health_score' => 'TINYINT UNSIGNED NULL',
    ];

    private const FLEETS_COMMENT = 'created by wafleet';

    public function __construct(private readonly Database $database, private readonly Naming $naming) {}

    /** @return list<Step> */
    public function steps(): array
    {
        [$table, $column] = [$this->naming->table, $this->naming->column];

        return [
            ...($this->naming->isFleets() ? [] : [$this->fleetsEmptyTable()]),
            $this->words($table, 'status'),
            $this->words($table, 'provider_type'),
            $this->sessionColumns(),
            $this->creator(),
            $this->column('chats', $column, 'BIGINT UNSIGNED NULL', after: 'workspace_id'),
            $this->column('chats', 'provider_type', 'VARCHAR(20) NULL'),
            $this->index('chats', [$column, 'created_at']),
            $this->reference('chats'),
            $this->column('campaign_logs', $column, 'BIGINT UNSIGNED NULL', after: 'contact_id'),
            $this->index('campaign_logs', ['campaign_id', $column]),
            $this->reference('campaign_logs'),
            $this->contacts(),
        ];
    }

    /** What needs the data to be in place first. @return list<Step> */
    public function lastSteps(): array
    {
        return [$this->oneMessageOnce(), ...($this->naming->isFleets() ? [] : [$this->view()])];
    }

    /** An ENUM takes no word that is added later; MySQL's strict mode refuses the row. */
    private function words(string $table, string $column): Step
    {
        return $this->step("{$table}.{$column}", function () use ($table, $column) {
            $found = $this->database->column($table, $column);

            return $found !== null && ($found->DATA_TYPE === 'enum' || preg_match('/\A(var)?char\(([0-9]|[12][0-9]|3[01])\)\z/', $found->COLUMN_TYPE))
                ? "{$table}.{$column} becomes VARCHAR(32) (now {$found->COLUMN_TYPE})" : null;
        }, function () use ($table, $column) {
            $definition = $this->database->definition($table, $column);
            $this->database->alter($table, 'MODIFY COLUMN '.preg_replace('/\A(`\w+`) (enum\((?:\'[^\']*\',?)+\)|(?:var)?char\(\d+\))/i', '$1 VARCHAR(32)', $definition));
        }, fn (array $kept) => $this->database->alter($table, "MODIFY COLUMN {$kept['definition']}"),
            fn () => ['definition' => $this->database->definition($table, $column)]);
    }

    private function sessionColumns(): Step
    {
        $table = $this->naming->table;
        $missing = fn () => array_filter(self::SESSION_COLUMNS, fn (string $column) => ! $this->database->hasColumn($table, $column), ARRAY_FILTER_USE_KEY);

        return $this->step("{$table}.columns", fn () => $missing() ? "{$table} gets ".implode(', ', array_keys($missing())) : null,
            function () use ($table, $missing) {
                if ($columns = $missing()) {
                    $this->database->alter($table, implode(', ', array_map(fn ($name, $type) => "ADD COLUMN `{$name}` {$type}", array_keys($columns), $columns)));
                }
            },
            fn (array $kept) => $this->dropColumns($table, $kept['columns']),
            fn () => ['columns' => array_keys($missing())]);
    }

    /** An employee who leaves must not take the company's number along. */
    private function creator(): Step
    {
        $table = $this->naming->table;
        $key = fn () => $this->database->foreignKey($table, 'created_by');
        $change = function (string $definition, ?string $name, ?string $parent, string $rule) use ($table) {
            if ($name !== null && $this->database->foreignKey($table, 'created_by') !== null) {
                $this->database->alter($table, "DROP FOREIGN KEY `{$name}`");
            }
            $this->database->alter($table, "MODIFY COLUMN {$definition}".($name === null ? '' : ", ADD CONSTRAINT `{$name}` FOREIGN KEY (`created_by`) REFERENCES `{$parent}` (`id`) ON DELETE {$rule}"));
        };

        return $this->step("{$table}.created_by", function () use ($table, $key) {
            $column = $this->database->column($table, 'created_by');
            $cascades = $key()?->DELETE_RULE === 'CASCADE';

            return $column !== null && ($column->IS_NULLABLE === 'NO' || $cascades) ? "{$table}.created_by may be empty".($cascades ? ', and deleting a user keeps the number' : '') : null;
        }, function () use ($table, $key, $change) {
            $now = $key();
            $definition = preg_replace('/ NOT NULL/', ' NULL', $this->database->definition($table, 'created_by'));
            $change($definition, $now?->CONSTRAINT_NAME ?? ($this->database->isParent('users') ? "{$table}_created_by_foreign" : null), $now?->REFERENCED_TABLE_NAME ?? 'users', 'SET NULL');
        }, function (array $kept) use ($table, $change) {
            if ((int) $this->database->value("SELECT COUNT(*) AS v FROM `{$table}` WHERE created_by IS NULL") > 0) {
                throw new Blocked("{$table} has rows without created_by, which the old schema does not take: give them one");
            }
            $change($kept['definition'], $kept['key'], $kept['parent'], $kept['rule'] ?? 'CASCADE');
        }, fn () => [
            'definition' => $this->database->definition($table, 'created_by'), 'key' => $key()?->CONSTRAINT_NAME, 'parent' => $key()?->REFERENCED_TABLE_NAME, 'rule' => $key()?->DELETE_RULE,
        ]);
    }

    private function column(string $table, string $column, string $type, ?string $after = null): Step
    {
        return $this->step("{$table}.{$column}", fn () => $this->database->isTable($table) && ! $this->database->hasColumn($table, $column) ? "{$table} gets {$column}, empty, without a lock" : null,
            fn () => $this->database->hasColumn($table, $column)
                || $this->database->alterOnline($table, "ADD COLUMN `{$column}` {$type}".($after && $this->database->hasColumn($table, $after) ? " AFTER `{$after}`" : '')),
            fn () => $this->dropColumns($table, [$column]));
    }

    /** @param list<string> $columns */
    private function index(string $table, array $columns): Step
    {
        // The names that Eloquent gives, so that dropIndex([...]) finds them; an index of the old naming stays what it is.
        $name = "{$table}_".implode('_', $columns).'_index';
        $old = str_replace('whatsapp_account_id', 'whatsapp_session_id', $name);
        $has = fn () => $this->database->hasIndex($table, $name) || $this->database->hasIndex($table, $old);

        return $this->step("{$table}.index.".implode('.', $columns), fn () => $this->database->isTable($table) && ! $has() ? "{$table} gets the index {$name}, without a lock" : null,
            fn () => $has() || $this->database->alterOnline($table, "ADD INDEX `{$name}` (`".implode('`, `', $columns).'`)'),
            fn () => $this->database->hasIndex($table, $name) && $this->database->alterOnline($table, "DROP INDEX `{$name}`"));
    }

    private function reference(string $table): Step
    {
        [$parent, $column] = [$this->naming->table, $this->naming->column];
        $name = "{$table}_{$column}_foreign";

        return $this->step("{$table}.foreign.{$column}", fn () => $this->database->isTable($table) && $this->database->foreignKey($table, $column) === null
            ? "{$table}.{$column} refers to {$parent}, without a lock" : null,
            function () use ($table, $column, $parent, $name) {
                if ($this->database->foreignKey($table, $column) !== null) {
                    return;
                }
                $orphans = (int) $this->database->value("SELECT COUNT(*) AS v FROM `{$table}` AS c LEFT JOIN `{$parent}` AS p ON p.id = c.`{$column}` WHERE c.`{$column}` IS NOT NULL AND p.id IS NULL");
                if ($orphans > 0) {
                    throw new Blocked("{$orphans} rows of {$table} refer by {$column} to numbers that do not exist: empty the column there");
                }
                $this->database->addForeignKeyOnline($table, $name, $column, $parent, 'SET NULL');
            },
            function () use ($table, $column, $name) {
                if ($this->database->foreignKey($table, $column)?->CONSTRAINT_NAME === $name) {
                    $this->database->alterOnline($table, "DROP FOREIGN KEY `{$name}`");
                }
                // The server makes an index for the key where none fits, and leaves it.
                if ($this->database->hasIndex($table, $name)) {
                    $this->database->alterOnline($table, "DROP INDEX `{$name}`");
                }
            });
    }

    private function contacts(): Step
    {
        [$parent, $column, $name] = [$this->naming->table, $this->naming->column, $this->naming->contacts];
        $there = fn () => $this->database->isTable($name) || $this->database->isTable('contact_sessions');

        return $this->step('contact_sessions', fn () => $there() ? null : "the table {$name} is created", function () use ($there, $name, $parent, $column) {
            if ($there()) {
                return;
            }
            $contact = $this->database->isParent('contacts') ? ", CONSTRAINT `{$name}_contact_id_foreign` FOREIGN KEY (`contact_id`) REFERENCES `contacts` (`id`) ON DELETE CASCADE" : '';
            $this->database->connection()->statement(
                "CREATE TABLE `{$name}` (
                    `id` BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY, `contact_id` BIGINT UNSIGNED NOT NULL, `{$column}` BIGINT UNSIGNED NOT NULL,
                    `first_interaction_at` TIMESTAMP NULL, `last_interaction_at` TIMESTAMP NULL, `total_messages` INT NOT NULL DEFAULT 0,
                    `created_at` TIMESTAMP NULL, `updated_at` TIMESTAMP NULL,
                    UNIQUE KEY `{$name}_contact_id_{$column}_unique` (`contact_id`, `{$column}`),
                    KEY `{$name}_contact_id_last_interaction_at_index` (`contact_id`, `last_interaction_at`),
                    KEY `{$name}_{$column}_last_interaction_at_index` (`{$column}`, `last_interaction_at`),
                    CONSTRAINT `{$name}_{$column}_foreign` FOREIGN KEY (`{$column}`) REFERENCES `{$parent}` (`id`) ON DELETE CASCADE{$contact}
                ) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_unicode_ci"
            );
        }, fn () => $this->database->connection()->statement("DROP TABLE IF EXISTS `{$name}`"));
    }

    /** A message that comes twice must not be two rows. */
    private function oneMessageOnce(): Step
    {
        $column = $this->naming->column;
        $name = "chats_{$column}_wam_id_unique";

        return $this->step('chats.unique', fn () => $this->database->isTable('chats') && $this->database->hasColumn('chats', 'wam_id') && ! $this->database->hasIndex('chats', $name)
            ? "chats gets a unique key over {$column} and wam_id, without a lock" : null,
            function () use ($column, $name) {
                if ($this->database->hasIndex('chats', $name)) {
                    return;
                }
                $double = $this->database->connection()->select(
                    "SELECT MIN(id) AS id, COUNT(*) AS n FROM chats WHERE `{$column}` IS NOT NULL AND wam_id IS NOT NULL GROUP BY `{$column}`, wam_id HAVING n > 1 LIMIT 5"
                );
                if ($double !== []) {
                    $ids = implode(', ', array_map(fn ($row) => $row->id, $double));
                    throw new Blocked("chats has messages more than once (the first of them with id {$ids}): delete what is double, then go on");
                }
                $this->database->alterOnline('chats', "ADD UNIQUE KEY `{$name}` (`{$column}`, `wam_id`)");
            },
            fn () => $this->database->hasIndex('chats', $name) && $this->database->alterOnline('chats', "DROP INDEX `{$name}`"));
    }

    /** `wafleet migrate` may have been there first and made an empty table under its own name. */
    private function fleetsEmptyTable(): Step
    {
        return $this->step('fleet.table', fn () => $this->database->isTable('whatsapp_sessions') ? 'the empty table whatsapp_sessions that wafleet created goes; a view takes its place' : null,
            function () {
                if (! $this->database->isTable('whatsapp_sessions')) {
                    return;
                }
                $ours = $this->database->comment('whatsapp_sessions') === self::FLEETS_COMMENT;
                if (! $ours || (int) $this->database->value('SELECT COUNT(*) AS v FROM whatsapp_sessions') > 0) {
                    throw new Blocked("there are both {$this->naming->table} and a whatsapp_sessions that is in use: move its rows into one of them");
                }
                $this->database->connection()->statement('DROP TABLE whatsapp_sessions');
            },
            fn (array $kept) => isset($kept['create']) && ! $this->database->isTable('whatsapp_sessions') && $this->database->connection()->statement($kept['create']),
            fn () => ['create' => $this->database->create('whatsapp_sessions')]);
    }

    /** The fleet writes to whatsapp_sessions, whatever the table behind it is called. */
    private function view(): Step
    {
        return $this->step('fleet.view', fn () => $this->database->isView('whatsapp_sessions') ? null : "the fleet finds {$this->naming->table} through a view whatsapp_sessions",
            fn () => $this->database->connection()->statement("CREATE OR REPLACE VIEW whatsapp_sessions AS SELECT * FROM `{$this->naming->table}`"),
            fn () => $this->database->connection()->statement('DROP VIEW IF EXISTS whatsapp_sessions'));
    }

    /** @param list<string> $columns */
    private function dropColumns(string $table, array $columns): void
    {
        $present = array_filter($columns, fn (string $column) => $this->database->hasColumn($table, $column));
        if ($present !== []) {
            $this->database->alterOnline($table, implode(', ', array_map(fn ($column) => "DROP COLUMN `{$column}`", $present)));
        }
    }

    private function step(string $name, \Closure $plan, \Closure $apply, \Closure $undo, ?\Closure $keep = null): Step
    {
        return new SchemaStep($this->database, $this->naming, $name, $plan, $apply, $undo, $keep);
    }
}
