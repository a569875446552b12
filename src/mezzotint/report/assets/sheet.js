/* Images that lie side by side in one sheet, drawn with gaps onto a canvas, each pixel a square where they are small. */

const sheets = new Map();

/* The decoded sheet of a picture; once for each. */
function sheet(picture) {
  if (!sheets.has(picture)) {
    const image = new Image();
    image.src = `data:image/webp;base64,${picture.src}`;
    sheets.set(picture, image.decode().then(() => image, () => null));
  }
  return sheets.get(picture);
}

/* Draw chosen images of a picture, row by row: cells is [[index, ...], ...].

   Small images are enlarged by a whole number and then shown a little smaller: every pixel keeps its edges. */
async function drawCells(canvas, picture, cells, largest = 96) {
  const ticket = (canvas.ticket = (canvas.ticket || 0) + 1);
  const image = await sheet(picture);
  if (!image || canvas.ticket !== ticket) return;
  const columns = Math.max(...cells.map((row) => row.length));
  const density = Math.min(2, window.devicePixelRatio || 1);
  const room = Math.max(120, (canvas.room || canvas.parentElement).clientWidth) * density;
  const most = picture.count > 1 ? largest * density : room;
  const wished = Math.min(most, room / columns / (1 + 1 / 16)) / picture.width;
  const scale = wished >= 1 ? Math.ceil(wished) : Math.max(0.05, wished);
  const width = Math.max(1, Math.round(picture.width * scale));
  const height = Math.max(1, Math.round(picture.height * scale));
  const gap = Math.max(1, Math.round(width / 16));
  canvas.width = columns * (width + gap) - gap;
  canvas.height = cells.length * (height + gap) - gap;
  canvas.style.width = `${(canvas.width * wished) / scale / density}px`;
  const pen = canvas.getContext("2d");
  pen.imageSmoothingEnabled = scale < 1;
  cells.forEach((row, y) => row.forEach((index, x) => {
    if (index >= picture.count) return;
    const left = (index % picture.columns) * picture.width;
    const top = Math.floor(index / picture.columns) * picture.height;
    pen.drawImage(image, left, top, picture.width, picture.height, x * (width + gap), y * (height + gap), width, height);
  }));
  canvas.dataset.drawn = cells.flat().join(" ");
}

/* The cells of a whole grid; narrow pages get fewer columns than were drawn. */
function gridCells(picture, columns) {
  const across = columns || picture.columns;
  return Array.from({ length: Math.ceil(picture.count / across) }, (_, y) =>
    Array.from({ length: Math.min(across, picture.count - y * across) }, (_, x) => y * across + x));
}

/* The cells of one frame of a film, whose sheet has a row for the state and one for the estimate of each image. */
function frameCells(picture, frame) {
  const actors = Array.from({ length: picture.rows / 2 }, (_, i) => i);
  return [0, 1].map((row) => actors.map((actor) => (2 * actor + row) * picture.columns + frame));
}

/* One image of a film from left to right. */
function stripCells(picture, actor) {
  return [0, 1].map((row) =>
    Array.from({ length: picture.columns }, (_, frame) => (2 * actor + row) * picture.columns + frame));
}
