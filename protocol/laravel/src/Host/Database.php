<?php

namespace Wafleet\Laravel\Host;

use Illuminate\Database\ConnectionInterface;
use Illuminate\Database\QueryException;
use Wafleet\Laravel\Inbox\Tables;

/** What is in the host's schema, and changes to it that do not keep writers out of large tables. */
final class Database
{
    /** MySQL and MariaDB: the server cannot change this table without a lock. */
    private const NOT_ONLINE = [1845, 1846];

    public bool $allowLocks = false;

    public function __construct(private readonly Tables $tables) {}

    public function connection(): ConnectionInterface
    {
        return $this->tables->connection();
    }

    public function isTable(string $table): bool
    {
        return $this->kind($table) === 'BASE TABLE';
    }

    public function isView(string $table): bool
    {
        return $this->kind($table) === 'VIEW';
    }

    public function comment(string $table): ?string
    {
        return $this->value('SELECT TABLE_COMMENT AS v FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = ?', [$table]);
    }

    public function hasColumn(string $table, string $column): bool
    {
        return $this->column($table, $column) !== null;
    }

    /** The column with its type, as `COLUMN_TYPE`, `DATA_TYPE`, `IS_NULLABLE`. */
    public function column(string $table, string $column): ?object
    {
        return $this->connection()->selectOne(
            'SELECT COLUMN_TYPE, DATA_TYPE, IS_NULLABLE FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = ? AND COLUMN_NAME = ?', [$table, $column],
        );
    }

    /** The column as `SHOW CREATE TABLE` spells it: what brings it back exactly. */
    public function definition(string $table, string $column): string
    {
        preg_match('/^\s*(`'.preg_quote($column, '/').'` .*?),?$/m', $this->create($table), $found);

        return $found[1];
    }

    public function create(string $table): string
    {
        return array_values((array) $this->connection()->selectOne("SHOW CREATE TABLE `{$table}`"))[1];
    }

    public function hasIndex(string $table, string $index): bool
    {
        return $this->value('SELECT 1 AS v FROM information_schema.STATISTICS WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = ? AND INDEX_NAME = ? LIMIT 1', [$table, $index]) !== null;
    }

    /** The foreign key of a column, as `CONSTRAINT_NAME`, `REFERENCED_TABLE_NAME`, `DELETE_RULE`. */
    public function foreignKey(string $table, string $column): ?object
    {
        return $this->connection()->selectOne(
            'SELECT k.CONSTRAINT_NAME, k.REFERENCED_TABLE_NAME, r.DELETE_RULE FROM information_schema.KEY_COLUMN_USAGE AS k
             JOIN information_schema.REFERENTIAL_CONSTRAINTS AS r ON r.CONSTRAINT_SCHEMA = k.CONSTRAINT_SCHEMA AND r.CONSTRAINT_NAME = k.CONSTRAINT_NAME AND r.TABLE_NAME = k.TABLE_NAME
             WHERE k.TABLE_SCHEMA = DATABASE() AND k.TABLE_NAME = ? AND k.COLUMN_NAME = ? AND k.REFERENCED_TABLE_NAME IS NOT NULL', [$table, $column],
        );
    }

    /** Whether a foreign key of type BIGINT UNSIGNED may lead to the table. */
    public function isParent(string $table): bool
    {
        $key = $this->isTable($table) ? $this->column($table, 'id') : null;

        return $key !== null && $key->DATA_TYPE === 'bigint' && str_contains($key->COLUMN_TYPE, 'unsigned');
    }

    /** Changes a small table; a lock of a moment does no harm. */
    public function alter(string $table, string $change): void
    {
        $this->connection()->statement("ALTER TABLE `{$table}` {$change}");
    }

    /**
     * Changes a table that may be large, with readers and writers going on.
     *
     * @throws Blocked when the server cannot do that, and locks were not allowed
     */
    public function alterOnline(string $table, string $change): void
    {
        try {
            $this->alter($table, "{$change}, ALGORITHM=INPLACE, LOCK=NONE");
        } catch (QueryException $error) {
            if (! in_array($error->errorInfo[1] ?? null, self::NOT_ONLINE, true)) {
                throw $error;
            }
            if (! $this->allowLocks) {
                throw new Blocked("this server changes {$table} only with a lock on it ({$error->errorInfo[2]}): choose a quiet hour and add --allow-locks", 0, $error);
            }
            $this->alter($table, $change);
        }
    }

    /** Adds a foreign key without a lock: rows are not looked at again, because the caller has. */
    public function addForeignKeyOnline(string $table, string $name, string $column, string $parent, string $onDelete): void
    {
        $this->connection()->statement('SET SESSION foreign_key_checks = 0');
        try {
            $this->alterOnline($table, "ADD CONSTRAINT `{$name}` FOREIGN KEY (`{$column}`) REFERENCES `{$parent}` (`id`) ON DELETE {$onDelete}");
        } finally {
            $this->connection()->statement('SET SESSION foreign_key_checks = 1');
        }
    }

    public function value(string $query, array $bindings = []): mixed
    {
        return $this->connection()->selectOne($query, $bindings)?->v;
    }

    private function kind(string $table): ?string
    {
        return $this->value('SELECT TABLE_TYPE AS v FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = ?', [$table]);
    }
}
