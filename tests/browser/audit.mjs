// Accessibility checks of a page: names, heading order, text contrast, and enough room.

import assert from 'node:assert/strict';

const NAMED = ['button', 'link', 'textbox', 'searchbox', 'combobox', 'checkbox', 'dialog', 'image', 'progressbar', 'navigation', 'region', 'heading', 'columnheader'];

/** Checks the names that Chromium computes for assistive technology. */
async function names(page) {
  const session = await page.context().newCDPSession(page);
  const { nodes } = await session.send('Accessibility.getFullAXTree');
  await session.detach();
  const shown = nodes.filter((node) => !node.ignored);
  const nameless = shown.filter(({ role, name }) => NAMED.includes(role?.value) && !name?.value?.trim());
  // A canvas without a label has this role and no name.
  const canvases = shown.filter(({ role }) => role?.value === 'Canvas');
  return [...nameless, ...canvases].map(({ role, nodeId }) => `${role.value} ${nodeId} has no name`);
}

/** Runs in the page. */
function looks() {
  const problems = [];
  const shown = (element) => element.checkVisibility({ visibilityProperty: true, opacityProperty: true });

  const levels = [...document.querySelectorAll('h1, h2, h3, h4, h5, h6')].filter(shown).filter((heading) => !heading.closest('dialog')).map((heading) => Number(heading.tagName[1]));
  if (levels.filter((level) => level === 1).length !== 1 || levels[0] !== 1) problems.push(`headings: ${levels}`);
  levels.forEach((level, index) => {
    if (index && level > levels[index - 1] + 1) problems.push(`headings jump: ${levels}`);
  });

  const parse = (colour) => {
    const [r, g, b, a = 1] = colour.match(/[\d.]+/g).map(Number);
    return [r, g, b, a];
  };
  const over = ([r, g, b, a], [x, y, z]) => [r * a + x * (1 - a), g * a + y * (1 - a), b * a + z * (1 - a), 1];
  const behind = (element) => {
    const layers = [];
    for (let at = element; at; at = at.parentElement) {
      layers.push(parse(getComputedStyle(at).backgroundColor));
      if (layers.at(-1)[3] === 1) break;
    }
    return layers.reverse().reduce((below, layer) => over(layer, below), [255, 255, 255, 1]);
  };
  // https://www.w3.org/TR/WCAG22/#dfn-relative-luminance
  const luminance = (colour) => {
    const [r, g, b] = colour.slice(0, 3).map((part) => part / 255).map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const contrast = (element, pseudo) => {
    const below = behind(element);
    const [light, dark] = [luminance(over(parse(getComputedStyle(element, pseudo).color), below)), luminance(below)].sort((a, b) => b - a);
    return (light + 0.05) / (dark + 0.05);
  };
  const judge = (element, text, pseudo) => {
    const seen = contrast(element, pseudo);
    if (seen < 4.5) problems.push(`contrast ${seen.toFixed(2)} of "${text.trim().slice(0, 40)}" (${element.tagName} ${element.className})`);
  };
  let judged = 0;
  for (const element of document.querySelectorAll('body, body *')) {
    if (!shown(element) || element.closest('svg, noscript')) continue;
    const text = [...element.childNodes].filter((node) => node.nodeType === Node.TEXT_NODE).map((node) => node.data).join('');
    if (text.trim()) judge(element, text);
    const before = getComputedStyle(element, '::before').content;
    if (before.startsWith('"')) judge(element, before, '::before');
    if (element.matches('input, select')) judge(element, element.value);
    if (element.placeholder) judge(element, element.placeholder, '::placeholder');
    judged += 1;
  }
  if (judged < 20) problems.push(`only ${judged} elements were checked`);
  return problems;
}

/** Runs in the page: finds elements that are too wide, and words that are broken across lines. */
function room() {
  const problems = [];
  const { scrollWidth, clientWidth } = document.documentElement;
  if (scrollWidth > clientWidth) problems.push(`needs ${scrollWidth} of ${clientWidth} pixels`);
  const walker = document.createTreeWalker(document.getElementById('page'), NodeFilter.SHOW_TEXT);
  const range = document.createRange();
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    for (const { 0: word, index } of node.data.matchAll(/[\p{L}\p{N}]{2,24}/gu)) {
      range.setStart(node, index);
      range.setEnd(node, index + word.length);
      const lines = new Set([...range.getClientRects()].map(({ top }) => Math.round(top)));
      if (lines.size > 1) problems.push(`"${word}" is broken`);
    }
  }
  return problems;
}

export async function accessible(page, where) {
  for (const colorScheme of ['light', 'dark']) {
    await page.emulateMedia({ colorScheme });
    const problems = [...await names(page), ...await page.evaluate(looks)];
    assert.deepEqual(problems, [], `${where}, ${colorScheme}`);
  }
  await page.emulateMedia({ colorScheme: 'light' });
}

export async function fits(page, where) {
  assert.deepEqual(await page.evaluate(room), [], where);
}
