"""Texts of `--help`: commands, examples, arguments and titles of config groups."""

COMMANDS = {
    "train": "train a model, then sample and evaluate; without arguments: handwritten digits, a few minutes",
    "sample": "sample from a run: grid, denoising strip, GIF, image files",
    "edit": "inpaint, enlarge, sharpen, colour, change or invert images with a run; a folder in, a folder out",
    "evaluate": "evaluate samples of a run, or a folder of images; write the values with their protocol",
    "compare": "rank evaluations that share a protocol, with error bars; list how other protocols differ",
    "prepare": "index a large set of images once, so that every start takes seconds; or convert it to one file",
    "encode": "encode a dataset to latents once, for data=latents; resumable, on any number of devices",
    "stats": "compute the reference statistics of a dataset once, for evaluate and for other programs",
    "check": "show the plan, the cost and the errors of a config without running it",
    "runs": "list the runs with state, age and best result",
    "sweep": "list the runs of a sweep, how they differ and their state; aggregate seeds",
    "export": "write a trained model for other programs: safetensors, torch.export, ONNX, diffusers; with a model card",
    "ema": "average the weights over any length, from the snapshots of a run",
    "report": "write one HTML page for a run, a sweep or several runs",
    "sync": "upload runs, or what is new in them, to Weights & Biases: one curve per run",
    "import": "turn the weights of another program into a run, to sample, evaluate and fine-tune",
    "plot": "compare schedules, grids, time distributions or loss weights; or plot losses and samples of a run",
}

EXAMPLES = {
    "train": """\
mezzotint train                                        digits, on the available device
mezzotint train experiment=emoji_ddpm budget=500000    another experiment, another number of images
mezzotint train experiment=cifar10_ddpm debug=tiny     a smoke test with a tiny network and few images
mezzotint train -m schedule=linear,cosine seed=0,1     four runs; a rerun skips finished ones
mezzotint train callbacks=sample_metrics               evaluate samples during training, keep the best checkpoint
mezzotint train sweep=seeds                            a predefined sweep; hydra/launcher=gpus: one run per GPU
mezzotint train init=runs/latest data=emoji            start a new run from the weights of another one
mezzotint train run=runs/latest                        resume a run where it stopped
mezzotint train run=runs/latest budget=20000000        train a finished run further""",
    "sample": """\
mezzotint sample run=runs/latest
mezzotint sample run=runs/latest sampler=ddim grid.steps=20 n=64
mezzotint sample run=runs/latest guidance=cfg guidance.scale=2 seed=1
mezzotint sample run=runs/latest n=1000 save=png       also one file per image, or all in one with save=npz
mezzotint sample run=runs/latest label=3               one class, by label or name; several: label=[3,dog]
mezzotint sample run=runs/latest 'label={cat:4,dog:8}' four cats and eight dogs
mezzotint sample run=runs/latest weights=raw           the weights without EMA""",
    "edit": """\
mezzotint edit run=runs/latest task=inpaint            held-out images, the middle hidden: results, sheet, numbers
mezzotint edit run=runs/latest task=inpaint images=photos task.mask=masks out=filled    folders in, a folder out
mezzotint edit run=runs/latest task=superres task.factor=2 method=pigdm grid.steps=100
mezzotint edit run=runs/latest task=sdedit images=sketch.png task.strength=0.6 label=3
mezzotint edit run=runs/latest task=invert sampler=heun grid.steps=50      the noise of images, and back
mezzotint edit -m run=runs/latest task=inpaint method=replace,ddnm,pigdm,moment_matching n=64
mezzotint edit task= --help                            all tasks; method= --help all methods""",
    "evaluate": """\
mezzotint evaluate run=runs/latest n=1000
mezzotint evaluate run=runs/latest checkpoint=best     the best checkpoint, which callbacks=sample_metrics keeps
mezzotint evaluate run=runs/latest seeds=3             three times n images: mean +- standard deviation
mezzotint evaluate run=runs/latest metrics=[fid,fid_bootstrap,precision_recall] sampler=heun grid=karras grid.steps=18
mezzotint evaluate run=runs/latest metrics=[memorisation]     detect copies of training images, with a picture
mezzotint evaluate -m run=runs/latest sampler=ddim,heun grid.steps=5,10,20,50      a table and a plot of all points
mezzotint evaluate run=runs/latest reference=stats.npz metrics=[fid]    mu and sigma, as published by ADM and EDM
mezzotint evaluate -m run=runs/latest task=inpaint method=ddnm,dps grid.steps=20,50 metrics=[fid,psnr] n=64
mezzotint evaluate images=drawn reference=real         folders of images (or npz files) from any program
mezzotint evaluate images=drawn.npy reference=real.npy  series, fields or volumes (N, C, *size)
mezzotint evaluate images=drawn.npz data=cifar10 extractor=inception out=fid.json""",
    "compare": """mezzotint compare runs/a runs/b                        all their comparable evaluations
mezzotint compare a.json b.json c.json                 single evaluations
mezzotint compare runs/a runs/b to=0.5                 images and minutes until a metric of samples was 0.5""",
    "prepare": """\
mezzotint prepare data=image_folder data.root=photos   read every image once; a repetition reads what changed
mezzotint prepare data=image_folder data.root=photos verify=content        read all of them again
mezzotint prepare data=image_folder data.root=photos data.crop=adm out=photos64.npy      as uint8 of data.shape""",
    "encode": """\
mezzotint encode data=emoji codec=autoencoder codec.directory=vae out=latents
mezzotint encode experiment=imagenet256_dit_xl out=imagenet_latents hardware=gpus hardware.devices=8""",
    "stats": """mezzotint stats data=cifar10 extractor=inception       computed once; reused by evaluate and train
mezzotint stats data=cifar10 extractor=inception out=cifar10.npz      mu and sigma for other programs
mezzotint stats reference=photos extractor=effnet      of a folder of images""",
    "check": """\
mezzotint check experiment=cifar10_ddpm hardware=gpus hardware.devices=8    on any machine
mezzotint check experiment=cifar10_ddpm hardware.micro_batch=find    find the largest micro-batch that fits here
mezzotint check run=runs/latest""",
    "runs": """\
mezzotint runs                                         all runs, newest last
mezzotint runs digits finished                         finished runs with digits in their name
mezzotint runs paths.runs=/data/runs --json            one JSON object per line""",
    "sweep": """\
mezzotint sweep runs/digits_ddpm                       at any time, also during the sweep""",
    "export": """\
mezzotint export run=runs/latest format=safetensors    weights with their config: mezzotint.load(FILE)
mezzotint export run=runs/latest format=diffusers      a folder for DDPMPipeline and DDIMPipeline.from_pretrained
mezzotint export run=runs/latest format=torch_export weights=raw license=apache-2.0""",
    "ema": """\
mezzotint ema run=runs/latest std=0.1                  a file of weights; also mezzotint sample run=... ema.std=0.1
mezzotint ema run=runs/latest std=0.05,0.1,0.2         several lengths, a file each""",
    "report": """\
mezzotint report runs/latest                           report.html in the run, a self-contained file
mezzotint report runs/digits_ddpm                      all runs of a sweep, with seeds aggregated
mezzotint report runs/a runs/b out=ours.html           several runs, in a file of this name""",
    "sync": """\
mezzotint sync runs/latest                             one run; a repetition uploads only what is new
mezzotint sync runs/digits_ddpm                        all runs of a sweep
mezzotint sync runs project=paper entity=team          all runs that were trained with logger=wandb""",
    "import": """\
mezzotint import format=diffusers source=ddpm-cifar10-32       the folder of a pipeline
mezzotint import format=guided_diffusion source=64x64_diffusion.pt name=adm64
mezzotint import format=edm source=weights.pt data=image_folder data.root=photos
mezzotint import format=sit source=SiT-XL-2-256.pt codec=autoencoder codec.directory=sd-vae-ft-ema \\
    data=image_folder data.root=imagenet data.shape=[3,256,256]""",
    "plot": """\
mezzotint plot schedule=linear,cosine,rectified        alpha, sigma, log-SNR and SNR against time
mezzotint plot grid=trailing,karras grid.steps=10      the steps of a grid, on schedule=cosine
mezzotint plot time_distribution=uniform,log_normal schedule=edm   density of training noise levels in log-SNR
mezzotint plot loss_weight=constant,min_snr,sigmoid    loss weight by noise level
mezzotint plot run=runs/latest                         its losses; run=runs/a,runs/b compares
mezzotint plot run=runs/latest kind=levels             its validation loss by log-SNR
mezzotint plot run=runs/latest guidance.scale=1,2,4    the same samples in each row, one row per value
mezzotint plot run=runs/latest grid.steps=5,10,50 sampler=ddim sampler.eta=0,0.5,1      rows and blocks
mezzotint plot run=runs/latest kind=interpolation      interpolation between samples, nine images each
mezzotint plot run=runs/latest kind=neighbours n=8     the nearest training images of eight samples
mezzotint plot run=runs/latest kind=film samples=3,7 out=film.svg,film.gif""",
}

WORDS = {
    "experiment=NAME": "a preset of the groups and keys below; debug=NAME overrides it for debugging",
    "name=NAME": "the run is runs/NAME; by default runs/<experiment>-<digest of the config>",
    "run=DIR": "an existing run; a group replaces that part of its config, key=value changes one value",
    "budget= batch_size= seed=": "images to train on, images per step over all devices, seed of all random numbers",
    "n= seeds=": "samples to evaluate at the end, for each of so many seeds",
    "reference=train|test|all|PATH": "the reference of metrics: a split, a folder of images, a file of arrays",
    "reference_images=N": "use at most N examples of the reference",
    "evaluation_share=0.25": "largest cost of sampling and evaluation, as a fraction of that of training",
    "weights=ema|raw": "the weights to sample from: their average, or the weights themselves",
    "checkpoint=best|NUMBER": "the best checkpoint of callbacks=sample_metrics, or that of a step; else the newest",
    "init=RUN|FILE init_weights=raw": "weights that a new run starts from: a run, a checkpoint, a safetensors file",
    "labels=auto|data|balanced": "classes of evaluated samples: as frequent as in the reference, or balanced",
    "trust=[PACKAGE]": "further packages that the config of run= may name; their code is executed",
    "group=NAME, group.key=VALUE": "choose an option of a group, set one of its values",
}

OF_TRAIN = {key: text for key, text in WORDS.items() if not key.startswith("checkpoint=")}

OF_STATS = {  # stats takes few of them
    "data=NAME": "a dataset; reference=train, test or all is the split, train by default",
    "reference=PATH": "a folder of images or a file of arrays instead",
    "metrics=[...] extractor=NAME": "the metrics and the extractor that evaluate will use",
    "out=FILE.npz": "also write mean and covariance as mu and sigma for other programs",
    "group=NAME, group.key=VALUE": WORDS["group=NAME, group.key=VALUE"],
}

OF_PREPARE = {
    "data=NAME data.root=PATH": "the images; other arguments of data as for train",
    "verify=times|content": "how changed images are found: by sizes and times, or by reading all images again",
    "out=FILE.npy|FILE.zip": "convert the images to data.shape by data.crop: an array of uint8, or PNGs in an archive",
    "paths.cache=DIR": "the folder of indexes; by default ~/.cache/mezzotint, or MEZZOTINT_CACHE",
    "group=NAME, group.key=VALUE": WORDS["group=NAME, group.key=VALUE"],
}

OF_ENCODE = {
    "data=NAME": "the images; their held-out ones are encoded too",
    "codec=autoencoder codec.directory=DIR": "the autoencoder: a diffusers AutoencoderKL, or codec.run=RUN of your own",
    "codec.batch=N": "images that are encoded at a time",
    "out=DIR": "the folder to write, which data=latents data.root=DIR reads; the same command resumes where it stopped",
    "hardware.devices=N": "so many processes, each with a share of the images",
    "group=NAME, group.key=VALUE": WORDS["group=NAME, group.key=VALUE"],
}

OF_SAMPLE = {
    "run=DIR": WORDS["run=DIR"],
    "n=N seed=N": "number of samples; seed of their noise",
    "label=CLASS|[...]|{CLASS:n}": "a class, by label or name; several classes; or the number of samples of each",
    "condition=FILE|{NAME:VALUE}": "conditions by name or in a file; by default those of held-out examples",
    "save=none|png|npz|npy": "also write each sample to a file, or all to one array",
    "out=DIR|FILE.png": "the folder, or the file of the grid; by default samples/ of the run",
    **{key: WORDS[key] for key in ("weights=ema|raw", "checkpoint=best|NUMBER", "trust=[PACKAGE]")},
    "group=NAME, group.key=VALUE": WORDS["group=NAME, group.key=VALUE"],
}

OF_TRAINING = ("experiment=", "name=", "budget=", "evaluation_share=", "init=")  # not of a command on a run

OF_EVALUATE = {key: text for key, text in WORDS.items() if not key.startswith(OF_TRAINING)} | {
    "n= seeds=": "number of samples, for each of so many seeds from seed= on",
    "task=NAME method=NAME": "edits of held-out examples in place of samples, as `edit` makes them; metrics=[fid,psnr]",
    "images=PATH": "instead of run=: images or samples of any program, a folder or a file; with reference= or data=",
    "out=FILE.json": "with images=: the output file; by default in the current directory",
}

OF_EDIT = {
    "run=DIR": WORDS["run=DIR"],
    "images=FOLDER|FILE|heldout": "image files, an npz, an array, or a split of the data; by default held-out examples",
    "task=NAME task.KEY=VALUE": "what to do; task=inpaint --help lists the keys of one",
    "method=NAME method.KEY=VALUE": "how a measurement is used: moment_matching unless another is named",
    "n= seed=": "number of images, of files all by default; seed of all random numbers",
    "out=FOLDER": "of the results, named as the images; sheet and numbers lie beside it; by default edits/ of the run",
    **{key: WORDS[key] for key in ("weights=ema|raw", "checkpoint=best|NUMBER")},
    "label=CLASS|[...]": "class of the results, by label or name; by default that of a held-out example, or none",
    "condition=FILE|{NAME:VALUE}": "conditions, by name or in a file; by default those of a held-out example, or none",
    **{key: WORDS[key] for key in ("trust=[PACKAGE]", "group=NAME, group.key=VALUE")},
}

OF_CHECK = OF_TRAIN | {
    "hardware.micro_batch=find": "find the largest micro-batch that fits here, and its speed",
}

KINDS = {
    "loss": "training and validation loss; run=DIR,DIR compares runs",
    "levels": "validation loss by log-SNR, darker later in training",
    "samples": "the same samples in each row; up to two keys with commas make rows and blocks",
    "interpolation": "interpolation between samples of one class",
    "neighbours": "samples above their nearest training images",
    "film": "from noise to image, with the estimates of x0 below",
}

OWN_WORDS = {  # commands that read no config of one job, and their arguments
    "runs": {
        "WORD": "only runs whose name or state contains it; with several words, all of them",
        "paths.runs=DIR": "the directory of runs; by default runs/, or MEZZOTINT_RUNS",
        "--json": "one JSON object per line",
    },
    "sweep": {"DIR": "the directory of the sweep, runs/NAME"},
    "export": {
        "run=DIR": "the run",
        "format=NAME": "safetensors, torch_export, onnx or diffusers",
        "weights=ema|raw checkpoint=best|NUMBER": "the weights to export, as for sample",
        "license=NAME": "the license that the model card states, such as apache-2.0 or cc-by-4.0",
        "out=DIR": "a folder; by default export/FORMAT in the run",
    },
    "ema": {
        "run=DIR": "a run that was trained with ema=power",
        "std=0.1,0.2": "standard deviations of the averages, as fractions of the images seen: 0.05 to 0.25",
        "out=FILE.safetensors": "the file of a single average; by default ema/std-0.1.safetensors in the run",
    },
    "report": {
        "DIR ...": "a run, the directory of a sweep, several of them, or all of runs/",
        "out=FILE.html": "the page; by default report.html in the directory",
    },
    "compare": {
        "RUN ...": "runs: all their comparable evaluations",
        "FILE ...": "single evaluations: evaluation/*.json of a run, or the output of evaluate images=",
        "to=NUMBER": "images and minutes until each run's metric of samples was as good; with callbacks=sample_metrics",
    },
    "import": {
        "format=NAME": "diffusers, guided_diffusion, improved_diffusion, edm, edm2, dit, sit or lucidrains",
        "source=PATH": "a safetensors file, a state dict, or with format=diffusers a folder; code in it is refused",
        "attention_order=new|legacy": "use_new_attention_order of guided_diffusion, which its files do not record",
        "name=NAME": "the run is runs/NAME; by default named after the file",
        "group=NAME, group.key=VALUE": "the rest of the run's config, which the file does not hold",
    },
    "sync": {
        "DIR ...": "a run, the directory of a sweep, or runs/: all runs that were trained with logger=wandb",
        "project= entity=": "the destination, instead of that in the runs' configs",
    },
    "plot": {
        "GROUP=A,B": "choices of schedule, grid, time_distribution or loss_weight; GROUP.key=VALUE applies to all",
        "run=DIR": "a run; a group or key with one value replaces its config's, with commas it is swept",
        "kind=KIND": "the kind of plot of a run, by default loss, or samples if anything is changed:",
        **{f"  {kind}": text for kind, text in KINDS.items()},
        "n= samples=0,5,7": "number of samples, or their indices: sample i is always the same image",
        "points= frames=": "images of an interpolation; images of a film",
        "features=NAME": "feature space of neighbours: pixels, or an extractor= such as digits",
        "out=FILE,FILE": "by default a PNG in plots/ of the run; .png, .svg, .pdf, and .gif for a film",
    },
}

TITLES = {  # of the groups
    "experiment": "presets",
    "debug": "debugging presets",
    "sweep": "predefined sweeps",
    "callbacks": "training callbacks",
    "c_noise": "noise conditioning of the network",
    "codec": "conversion of data for the network",
    "data": "datasets",
    "ema": "averages of the weights",
    "extractor": "feature extractors of metrics",
    "grid": "noise levels of sampling",
    "guidance": "guidance of sampling",
    "hardware": "devices, precision, memory",
    "logger": "experiment trackers",
    "loss": "loss functions",
    "method": "methods for tasks with a measurement",
    "metrics": "evaluation metrics",
    "network": "networks",
    "objective": "training noise and labels",
    "lr_schedule": "learning-rate schedules, instead of optimizer.decay",
    "optimizer": "optimizers",
    "paths": "directories",
    "sampler": "samplers",
    "c_in": "input scaling of the network",
    "schedule": "noise schedules",
    "target": "prediction targets",
    "task": "tasks of edit",
    "time_distribution": "training noise levels",
    "loss_weight": "loss weight by noise level",
}

USAGE = {
    "export": "run=DIR format=NAME [weights=NAME] [checkpoint=STEP] [license=NAME] [out=DIR]",
    "ema": "run=DIR std=NUMBER[,NUMBER ...] [out=FILE.safetensors]",
    "report": "DIR ... [out=FILE.html]",
    "compare": "RUN|FILE RUN|FILE ... [to=NUMBER]",
    "runs": "[WORD ...] [paths.runs=DIR] [--json]",
    "sweep": "DIR",
    "sync": "DIR ... [project=NAME] [entity=NAME]",
    "import": "format=NAME source=PATH [key=value ...]",
    "stats": "[key=value ...] [--cfg job] [--config-dir DIR]",
    "plot": "GROUP=A,B [GROUP.key=VALUE ...] [out=FILE]\n"
    "       mezzotint plot run=DIR [kind=KIND] [key=VALUE[,VALUE ...] ...] [--config-dir DIR]",
}

GROUPS = {  # of the commands that do not take all
    "plot": (
        "schedule",
        "grid",
        "time_distribution",
        "loss_weight",
        "target",
        "sampler",
        "guidance",
        "extractor",
        "hardware",
    ),
    "prepare": ("data", "paths"),
    "encode": ("data", "codec", "hardware", "paths"),
    "stats": ("data", "codec", "metrics", "extractor", "hardware", "paths"),
}

SHELLS = {
    "bash": 'eval "$(mezzotint -sc install=bash)"',
    "zsh": 'autoload -Uz bashcompinit && bashcompinit && eval "$(mezzotint -sc install=bash)"',
    "fish": "mezzotint -sc install=fish | source",
}

MORE = (
    "mezzotint {} data=image_folder --help   the keys of a choice; data= --help   all choices of a group",
    "mezzotint {} --cfg job   print the complete config and exit",
    "-m   one job per combination of comma-separated values: seed=0,1,2 or 'seed=range(0,10)'",
    "--config-dir DIR   a directory of your own groups and experiments",
)
