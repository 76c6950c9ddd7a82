// The site's search runs in a worker, which browsers refuse to a page that was opened from the disk. There it
// runs in a hidden frame instead, by the same messages. docs/site.py puts this in place of a script that the
// theme would fetch from the network.
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(address) {
      super()
      const frame = document.createElement("iframe")
      frame.hidden = true
      document.documentElement.append(frame)
      this.inside = frame.contentWindow
      this.inside.postMessage = data => this.dispatchEvent(new MessageEvent("message", { data }))
      this.loaded = new Promise((resolve, reject) => {
        const script = this.inside.document.createElement("script")
        script.src = new URL(address, location.href).href
        script.onload = resolve
        script.onerror = () => reject(new Error(`${script.src} cannot be loaded`))
        this.inside.document.documentElement.append(script)
      })
    }
    postMessage(data) {
      this.loaded.then(() => this.inside.dispatchEvent(new MessageEvent("message", { data })))
    }
    terminate() {
      this.inside.frameElement.remove()
    }
  }
}
