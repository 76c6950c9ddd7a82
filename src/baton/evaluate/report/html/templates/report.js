"use strict";
// Everything can be read without this script: it filters lists, and opens what a link points to.

function reveal() {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  for (let part = target; part; part = part.parentElement) {
    if (part.tagName === "DETAILS") part.open = true;
  }
  if (target) target.scrollIntoView();
}

function filter(input) {
  const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
  const list = document.getElementById(input.dataset.list);
  const items = list.querySelectorAll("[data-item]");
  let shown = 0;
  for (const item of items) {
    const text = item.textContent.toLowerCase();
    item.hidden = !words.every((word) => text.includes(word));
    shown += item.hidden ? 0 : 1;
  }
  const rest = list.querySelector(":scope > details[data-rest]");
  if (rest && words.length) rest.open = true;
  document.getElementById(input.dataset.count).textContent = `${shown} of ${items.length} found`;
}

for (const input of document.querySelectorAll("input[data-list]")) {
  input.closest(".filter").hidden = false;
  input.addEventListener("input", () => filter(input));
}
window.addEventListener("hashchange", reveal);
if (location.hash) reveal();

let opened = [];
window.addEventListener("beforeprint", () => {
  opened = [...document.querySelectorAll("details.print:not([open])")];
  for (const part of opened) part.open = true;
});
window.addEventListener("afterprint", () => {
  for (const part of opened) part.open = false;
});
