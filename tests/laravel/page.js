// The page of the README: Echo as an application sets it up, and its component. What the test asks of it hangs on `window`.
import Echo from 'laravel-echo'
import Pusher from 'pusher-js'
import jsQR from 'jsqr'
import { createApp } from 'vue'
import WhatsAppLink from 'component'

const { key, port, csrf, uuid, sessionId, workspaceId } = Object.fromEntries(new URLSearchParams(location.search))

window.Pusher = Pusher
window.Echo = new Echo({
  broadcaster: 'reverb', key, wsHost: '127.0.0.1', wsPort: Number(port), forceTLS: false, enabledTransports: ['ws'],
  auth: { headers: { 'X-CSRF-TOKEN': csrf } },
})
window.heard = []
window.Echo.connector.pusher.bind_global((event, data) => window.heard.push({ event, data, at: Date.now() }))

/** What a phone would read from the screen. */
window.scan = () => {
  const image = document.querySelector('img')
  if (!image?.complete || image.naturalWidth === 0) return null
  const canvas = Object.assign(document.createElement('canvas'), { width: image.naturalWidth, height: image.naturalHeight })
  const context = canvas.getContext('2d')
  context.drawImage(image, 0, 0)
  return jsQR(context.getImageData(0, 0, canvas.width, canvas.height).data, canvas.width, canvas.height)?.data ?? null
}

createApp(WhatsAppLink, { uuid, sessionId, workspaceId: Number(workspaceId) }).mount('#app')
