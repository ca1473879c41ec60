// Keeps the page of a payment request up to date. Without this script the page reloads by itself.
"use strict";

const at = (id) => document.getElementById(id);
const show = (id, text) => {
  const element = at(id);
  if (element && element.textContent !== text) element.textContent = text;
};

function follow() {
  const source = new EventSource(`${location.pathname}/events`);
  source.addEventListener("open", () => at("link").removeAttribute("hidden"));
  source.addEventListener("state", (event) => {
    const told = JSON.parse(event.data);
    at("request").dataset.state = told.state;
    show("title", told.title);
    show("amount", told.amount);
    show("detail", told.detail);
    show("note", told.note);
    at("received").value = told.received;
    document.title = `${told.amount} · ${told.title}`;
    if (told.is_final) {
      source.close();
      at("link").setAttribute("hidden", "");
    }
  });
  source.addEventListener("error", () => {
    at("link").setAttribute("hidden", "");
    // The browser comes back by itself, unless it was turned away.
    if (source.readyState === EventSource.CLOSED) setTimeout(reload, 5000 + 10000 * Math.random());
  });
}

// There was no place: the page shows where the request stands when it is loaded anew, and asks for a place then.
async function reload() {
  const answer = await fetch(location.pathname, { cache: "no-store" }).catch(() => null);
  if (answer && answer.ok) location.reload();
  else setTimeout(reload, 5000 + 10000 * Math.random());
}

function countDown() {
  const expires = at("expires");
  if (!expires) return;
  const end = Date.parse(expires.dateTime);
  const tick = () => {
    const left = Math.round((end - Date.now()) / 1000);
    if (left <= 0 || left > 86400) return show("left", "");
    const minutes = Math.floor(left / 60);
    const text = left < 3600 ? `${minutes}:${String(left % 60).padStart(2, "0")} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
    show("left", `, in ${text}`);
    setTimeout(tick, 1000);
  };
  tick();
}

function offerCopy() {
  const button = at("copy");
  if (!button || !navigator.clipboard) return;
  button.removeAttribute("hidden");
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(at("command").textContent);
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = "Copy"; }, 2000);
  });
}

follow();
countDown();
offerCopy();
