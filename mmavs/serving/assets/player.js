// The player: an overlay video for each audio condition, its timeline of classes and the spectrogram, in step.
const TITLES = {original: 'Original audio', muted: 'Muted', swapped: 'Swapped audio'};
const HINT = 'Click a bar, or press Enter on it, to jump there.';

function make(parent, tag, className, attributes = {}, text = '') {
  const node = document.createElement(tag);
  node.className = className;
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.textContent = text;
  parent.append(node);
  return node;
}

function seconds(value) {
  return `${Math.round(value * 10) / 10} s`;
}

// Keep the place, the volume and the state of the player when another condition is chosen.
function show(root, state, name) {
  const before = state.videos[state.current];
  const after = state.videos[name];
  if (before && before !== after) {
    const playing = !before.paused && !before.ended;
    before.pause();
    after.currentTime = before.currentTime;
    after.volume = before.volume;
    after.muted = before.muted;
    if (playing) after.play().catch(() => {});
  }
  state.current = name;
  for (const [key, video] of Object.entries(state.videos)) video.hidden = key !== name;
  for (const [key, rows] of Object.entries(state.rows)) rows.hidden = key !== name;
  const condition = state.conditions[name];
  const names = condition.bands.map((band) => band.name);
  state.summary.textContent = `${TITLES[name]}: ` + (names.length
    ? `masks of ${names.join(', ')}, on average ${(100 * condition.covered).toFixed(1)}\u00a0% of the frame.`
    : 'no mask.');
  step(state);
}

function step(state) {
  const video = state.videos[state.current];
  const time = Math.min(video.currentTime, state.duration);
  const fraction = state.duration ? time / state.duration : 0;
  for (const head of state.heads) head.style.left = `${100 * fraction}%`;
  for (const bar of state.bars) {
    bar.classList.toggle('now', time >= bar.dataset.start && time < bar.dataset.end);
  }
}

function addRows(parent, condition, state) {
  const rows = make(parent, 'div', 'rows', {role: 'group', 'aria-label': 'Timeline of classes'});
  const largest = Math.max(...condition.bands.flatMap((band) => band.times.map((span) => span.share)), 1e-9);
  for (const band of condition.bands) {
    const row = make(rows, 'div', 'row');
    make(row, 'span', 'name', {title: band.name}, band.name);
    const track = make(row, 'div', 'track');
    for (const span of band.times) {
      const label = `${band.name}, ${seconds(span.start)} to ${seconds(span.end)}, ` +
        `${(100 * span.share).toFixed(1)} % of the frame`;
      const bar = make(track, 'button', 'bar', {type: 'button', title: label, 'aria-label': `Jump to ${label}`});
      bar.style.left = `${100 * span.start / state.duration}%`;
      bar.style.width = `${100 * (span.end - span.start) / state.duration}%`;
      bar.style.setProperty('--color', band.color);
      bar.style.setProperty('--height', `${Math.max(18, 100 * span.share / largest)}%`);
      bar.dataset.start = span.start;
      bar.dataset.end = span.end;
      bar.addEventListener('click', () => {
        state.videos[state.current].currentTime = span.start + 1e-3;
      });
      state.bars.push(bar);
    }
    state.heads.push(make(track, 'div', 'head', {'aria-hidden': 'true'}));
  }
  if (!condition.bands.length) make(rows, 'p', 'empty', {}, 'No object sounds for the model.');
  return rows;
}

function addTimes(parent, duration) {
  const row = make(parent, 'div', 'row times', {'aria-hidden': 'true'});
  make(row, 'span', 'name');
  const track = make(row, 'div', 'track');
  const steps = [0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600];
  const size = steps.find((value) => duration / value <= 8) || 1800;
  for (let time = 0; time < duration; time += size) {
    make(track, 'span', 'time', {}, seconds(time)).style.left = `${100 * time / duration}%`;
  }
}

function addSpectrogram(parent, url, state) {
  const row = make(parent, 'div', 'row spectrogram');
  make(row, 'span', 'name', {}, 'audio');
  const track = make(row, 'div', 'track');
  const image = make(track, 'img', '', {src: url, alt: `Spectrogram of the audio, ${seconds(state.duration)}`});
  image.addEventListener('click', (event) => {
    const box = image.getBoundingClientRect();
    state.videos[state.current].currentTime = state.duration * (event.clientX - box.left) / box.width;
  });
  state.heads.push(make(track, 'div', 'head', {'aria-hidden': 'true'}));
}

function build(root, value, chosen) {
  root.replaceChildren();
  const state = {duration: value.duration, conditions: {}, videos: {}, rows: {}, bars: [], heads: []};
  const screen = make(root, 'div', 'screen');
  const choices = make(root, 'fieldset', 'choices');
  make(choices, 'legend', '', {}, 'Audio that the model gets');
  state.summary = make(root, 'p', 'summary', {'aria-live': 'polite'});
  const timeline = make(root, 'div', 'timeline');
  if (value.spectrogram) addSpectrogram(timeline, value.spectrogram.url, state);
  for (const condition of value.conditions) {
    const name = condition.condition;
    state.conditions[name] = condition;
    const video = make(screen, 'video', '', {
      controls: '', playsinline: '', preload: 'auto', src: condition.overlay.url,
      'aria-label': `Video with masks, ${TITLES[name].toLowerCase()}`});
    for (const event of ['timeupdate', 'seeking', 'seeked']) video.addEventListener(event, () => step(state));
    // timeupdate comes four times a second: the playhead moves with the frames of the screen.
    video.addEventListener('play', () => {
      const move = () => {
        step(state);
        if (!video.paused && root.isConnected) requestAnimationFrame(move);
      };
      move();
    });
    state.videos[name] = video;
    state.rows[name] = addRows(timeline, condition, state);
  }
  for (const name of Object.keys(TITLES)) {
    if (!value.expected.includes(name)) continue;
    const label = make(choices, 'label', 'choice');
    const input = make(label, 'input', '', {type: 'radio', name: `audio-${value.id}`, value: name});
    label.append(TITLES[name]);
    input.disabled = !(name in state.videos);
    if (input.disabled) label.append(' (in progress)');
    input.checked = name === chosen;
    input.addEventListener('change', () => show(root, state, name));
  }
  addTimes(timeline, value.duration);
  make(root, 'p', 'hint', {}, HINT);
  show(root, state, chosen);
  return state;
}

// Results come one condition after the other: what the user has chosen, and the place in the video, stay.
let state = null;
let shown = null;
function update() {
  const root = element.querySelector('.mmavs-player');
  const value = props.value;
  if (!value || !value.conditions) {
    root.replaceChildren();
    make(root, 'p', 'waiting', {}, 'The video with its masks appears here.');
    state = shown = null;
    return;
  }
  const goesOn = state && shown === value.id;
  const before = goesOn ? state.videos[state.current] : null;
  const time = before ? before.currentTime : 0;
  const playing = before && !before.paused;
  state = build(root, value, goesOn ? state.current : 'original');
  shown = value.id;
  if (time) state.videos[state.current].currentTime = time;
  if (playing) state.videos[state.current].play().catch(() => {});
}
watch('value', update);
update();
