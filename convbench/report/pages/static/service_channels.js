// Notifications: the forms that make and change a channel, and the buttons of channels and of their messages.

import { copyButton, element } from "./dom.js";
import { ask, showProblem } from "./service_api.js";

/** Make a channel. A webhook's secret is shown this once; a channel without one is shown at once in the list. */
export async function makeChannel(values, said) {
  const body = {
    name: values.get("name"),
    service: values.get("service"),
    url: values.get("url"),
    kinds: values.getAll("kind"),
  };
  const { secret } = await ask("POST", "/channels", body);
  if (!secret) {
    location.reload();
    return;
  }
  said.replaceChildren(
    "The channel is made. Copy the secret that signs its messages now, it is not shown again: ",
    element("code", {}, secret),
    " ",
    copyButton(() => secret),
  );
}

/** Change a channel. Without another URL, the messages go where they went. */
export async function changeChannel(form, values) {
  const body = { name: values.get("name"), kinds: values.getAll("kind") };
  if (values.get("url")) body.url = values.get("url");
  await ask("PATCH", `/channels/${form.dataset.channelId}`, body);
  location.reload();
}

async function act(button, row) {
  const { channel, delivery } = row.dataset;
  if (button.dataset.act === "delete" && !button.dataset.sure) {
    button.dataset.sure = "true";
    row.querySelector(".said").replaceChildren("Press again to delete it, with its messages.");
    return;
  }
  if (button.dataset.act === "delete") await ask("DELETE", `/channels/${channel}`);
  else if (delivery) await ask("POST", `/deliveries/${delivery}/again`);
  else {
    const { id } = await ask("POST", `/channels/${channel}/test`);
    row.querySelector(".said").replaceChildren(await outcomeOf(channel, id));
    return;
  }
  location.reload();
}

/** Milliseconds between two looks for what became of a test, and the number of looks. */
const LOOK_MS = 1000;
const MOST_LOOKS = 20;

/** What became of a test message, in words. */
async function outcomeOf(channel, id) {
  for (let look = 0; look < MOST_LOOKS; look += 1) {
    const messages = await ask("GET", `/deliveries?channel=${encodeURIComponent(channel)}`);
    const found = messages.find((each) => each.id === id);
    if (found?.state === "sent") return "The message arrived.";
    if (found?.reason) return `It did not arrive: ${found.reason}. It is tried again.`;
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
  }
  return "It is not sent yet.";
}

/** The buttons of the rows of both tables. */
export function showChannels() {
  for (const button of document.querySelectorAll("[data-channel] [data-act], [data-delivery] [data-act]")) {
    const row = button.closest("tr");
    button.addEventListener("click", async () => {
      button.disabled = true;
      try {
        await act(button, row);
      } catch (problem) {
        showProblem(row.querySelector(".said"), problem);
      }
      button.disabled = false;
    });
  }
}
