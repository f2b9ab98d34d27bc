<?php

namespace Wafleet\Laravel;

use Illuminate\Contracts\Config\Repository;
use Wafleet\Laravel\Exceptions\UnknownWorkspace;
use Wafleet\Laravel\Models\WhatsAppSession;

/** From a session id or its row to the session and its workspace. */
trait FindsSessions
{
    public function session(string|WhatsAppSession $session, ?int $workspace = null): Session
    {
        if ($session instanceof WhatsAppSession) {
            return new Session($this, $workspace ?? (int) $session->workspace_id, (string) $session->session_id);
        }
        $config = $this->config();
        $workspace ??= (int) $config->get('whatsapp.workspace') ?: null;
        if ($workspace === null) {
            $model = $config->get('whatsapp.models.session');
            $workspace = (int) $model::query()->where('session_id', $session)->value('workspace_id') ?: null;
        }
        if ($workspace === null) {
            throw new UnknownWorkspace(
                "there is no row for the session {$session}: create one, name the workspace as in session('{$session}', workspace: 1), or set WHATSAPP_WORKSPACE"
            );
        }

        return new Session($this, $workspace, $session);
    }

    abstract protected function config(): Repository;
}
