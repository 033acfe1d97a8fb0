# ruff: noqa: E501  (a table of facts)
"""What `instructions` ask for: closed lexicons, so that a fact tested in one wording is taught in another.

Each kind has ways to ask, the one right output, and facts to fill in: `{0}`, `{1}` … are the fact's parts.
"""

from __future__ import annotations

from dataclasses import dataclass

from benchsuite.data.synthetic import words

Ask = tuple[str, str]


@dataclass(frozen=True)
class Kind:
    """One kind of instruction: `asks` are (instruction, input) templates, `output` the template of the right answer."""

    name: str
    asks: tuple[Ask, ...]
    output: str
    facts: tuple[tuple[str, ...], ...]


def _facts(table: str) -> tuple[tuple[str, ...], ...]:
    """Facts from text: one fact per semicolon, its parts separated by `=`.

    >>> _facts("mouse = mice; ox = oxen")
    (('mouse', 'mice'), ('ox', 'oxen'))
    """
    return tuple(tuple(part.strip() for part in fact.split("=")) for fact in table.split(";"))


_UNITS = (
    ("kilometers", "meters", 1000), ("meters", "centimeters", 100), ("kilograms", "grams", 1000), ("liters", "milliliters", 1000),
    ("hours", "minutes", 60), ("minutes", "seconds", 60), ("weeks", "days", 7), ("days", "hours", 24),
    ("years", "months", 12), ("feet", "inches", 12), ("centimeters", "millimeters", 10), ("yards", "feet", 3),
)  # fmt: skip

KINDS: tuple[Kind, ...] = (
    Kind(
        "plural",
        (("What is the plural of '{0}'?", ""), ("Give the plural form of the word.", "{0}"), ("Write '{0}' in the plural.", ""),
         ("Turn the noun into its plural.", "{0}"), ("How do you say more than one '{0}'?", "")),
        "The plural of '{0}' is '{1}'.",
        _facts("mouse = mice; goose = geese; child = children; foot = feet; tooth = teeth; man = men; woman = women; ox = oxen; leaf = leaves; "
               "knife = knives; wolf = wolves; baby = babies; city = cities; box = boxes; church = churches; potato = potatoes; sheep = sheep; "
               "deer = deer; crisis = crises; cactus = cacti"),
    ),
    Kind(
        "antonym",
        (("What is the opposite of '{0}'?", ""), ("Give an antonym of the word.", "{0}"), ("Name the antonym of '{0}'.", ""),
         ("Find the word with the opposite meaning.", "{0}"), ("Which word means the contrary of '{0}'?", "")),
        "The opposite of '{0}' is '{1}'.",
        _facts("hot = cold; big = small; happy = sad; fast = slow; light = dark; early = late; rich = poor; strong = weak; old = young; full = empty; "
               "wet = dry; loud = quiet; high = low; hard = soft; brave = cowardly; clean = dirty; open = closed; thick = thin; deep = shallow; near = far"),
    ),
    Kind(
        "synonym",
        (("What is a synonym of '{0}'?", ""), ("Give a synonym of the word.", "{0}"), ("Name a word that means the same as '{0}'.", ""),
         ("Find another word with this meaning.", "{0}"), ("Suggest a different word for '{0}'.", "")),
        "A synonym of '{0}' is '{1}'.",
        _facts("begin = start; end = finish; quick = rapid; large = great; clever = smart; glad = joyful; angry = furious; tired = weary; silent = mute; "
               "buy = purchase; help = assist; speak = talk; choose = select; repair = mend; tiny = little; afraid = scared; odd = strange; present = gift"),
    ),
    Kind(
        "past tense",
        (("What is the past tense of '{0}'?", ""), ("Give the past tense of the verb.", "{0}"), ("Put '{0}' into the past tense.", ""),
         ("Write this verb in the simple past.", "{0}"), ("Today I {0}. Yesterday I did what? Name the verb form.", "")),
        "The past tense of '{0}' is '{1}'.",
        _facts("go = went; eat = ate; see = saw; run = ran; write = wrote; take = took; give = gave; come = came; find = found; bring = brought; "
               "buy = bought; think = thought; drink = drank; swim = swam; sing = sang; fly = flew; break = broke; know = knew; teach = taught; keep = kept"),
    ),
    Kind(
        "comparative",
        (("What is the comparative of '{0}'?", ""), ("Give the comparative form of the adjective.", "{0}"), ("Compare with '{0}': name the comparative.", ""),
         ("Write the adjective in the comparative.", "{0}"), ("Form the comparative of '{0}'.", "")),
        "The comparative of '{0}' is '{1}'.",
        _facts("good = better; bad = worse; far = farther; big = bigger; happy = happier; easy = easier; hot = hotter; thin = thinner; large = larger; "
               "nice = nicer; long = longer; busy = busier; sad = sadder; small = smaller; late = later; heavy = heavier; wet = wetter; pretty = prettier"),
    ),
    Kind(
        "spelling",
        (("Correct the spelling of '{0}'.", ""), ("Fix the spelling mistake in the word.", "{0}"), ("How is '{0}' spelled correctly?", ""),
         ("Which spelling is right for this word?", "{0}"), ("The word '{0}' is misspelled. Correct it.", "")),
        "The correct spelling is '{1}'.",
        _facts("freind = friend; recieve = receive; seperate = separate; beleive = believe; tommorow = tomorrow; neccessary = necessary; "
               "definately = definitely; occured = occurred; wich = which; adress = address; begining = beginning; calender = calendar; enviroment = environment; "
               "goverment = government; libary = library; suprise = surprise; untill = until; wierd = weird; gramar = grammar; knowlege = knowledge"),
    ),
    Kind(
        "simile",
        (("Complete the simile: as {0} as ...", ""), ("Finish the simile.", "as {0} as"), ("What is the usual simile with '{0}'?", ""),
         ("Write a simile with this adjective.", "{0}"), ("Use a simile to say that something is {0}.", "")),
        "As {0} as {1}.",
        _facts("brave = a lion; busy = a bee; blind = a bat; cold = ice; cunning = a fox; free = a bird; gentle = a lamb; green = grass; hungry = a wolf; "
               "light = a feather; old = the hills; proud = a peacock; quiet = a mouse; sharp = a razor; slow = a snail; sly = a snake; stubborn = a mule; "
               "white = snow; wise = an owl; strong = an ox"),
    ),
    Kind(
        "element symbol",
        (("What is the chemical symbol for {0}?", ""), ("Give the symbol of the element.", "{0}"), ("Which symbol does {0} have in the periodic table?", ""),
         ("Write the chemical symbol.", "{0}"), ("Name the symbol of the element {0}.", "")),
        "The chemical symbol for {0} is {1}.",
        _facts("hydrogen = H; helium = He; carbon = C; nitrogen = N; oxygen = O; sodium = Na; iron = Fe; gold = Au; silver = Ag; copper = Cu; lead = Pb; "
               "tin = Sn; zinc = Zn; potassium = K; calcium = Ca; chlorine = Cl; sulfur = S; mercury = Hg; neon = Ne; nickel = Ni"),
    ),
    Kind(
        "author",
        (("Who wrote '{0}'?", ""), ("Name the author of the book.", "{0}"), ("Who is the author of '{0}'?", ""),
         ("By whom was this book written?", "{0}"), ("Tell me which writer '{0}' is by.", "")),
        "'{0}' was written by {1}.",
        _facts("Emma = Jane Austen; Oliver Twist = Charles Dickens; Moby-Dick = Herman Melville; Hamlet = William Shakespeare; "
               "War and Peace = Leo Tolstoy; Don Quixote = Miguel de Cervantes; Frankenstein = Mary Shelley; Dracula = Bram Stoker; Jane Eyre = Charlotte Bronte; "
               "The Odyssey = Homer; Les Miserables = Victor Hugo; Faust = Johann Wolfgang von Goethe; Middlemarch = George Eliot; "
               "Treasure Island = Robert Louis Stevenson; Little Women = Louisa May Alcott; Candide = Voltaire; The Time Machine = H. G. Wells; "
               "The Idiot = Fyodor Dostoevsky; Walden = Henry David Thoreau; Peter Pan = J. M. Barrie"),
    ),
    Kind(
        "capital",
        (("What is the capital of {0}?", ""), ("Name the capital of the country.", "{0}"), ("Which city is the capital of {0}?", ""),
         ("Give the capital city.", "{0}"), ("Tell me the capital of {0}.", "")),
        "The capital of {0} is {1}.",
        _facts("France = Paris; Italy = Rome; Spain = Madrid; Germany = Berlin; Japan = Tokyo; Egypt = Cairo; Kenya = Nairobi; Peru = Lima; Norway = Oslo; "
               "Sweden = Stockholm; Austria = Vienna; Greece = Athens; Portugal = Lisbon; Ireland = Dublin; Poland = Warsaw; Hungary = Budapest; "
               "Thailand = Bangkok; Cuba = Havana; Canada = Ottawa; Finland = Helsinki"),
    ),
    Kind(
        "contraction",
        (("What is the contraction of '{0}'?", ""), ("Contract the words.", "{0}"), ("Write '{0}' in its short form.", ""),
         ("Give the contraction.", "{0}"), ("How are the words '{0}' contracted?", "")),
        "The contraction of '{0}' is '{1}'.",
        _facts("do not = don't; does not = doesn't; did not = didn't; is not = isn't; are not = aren't; was not = wasn't; were not = weren't; will not = won't; "
               "cannot = can't; could not = couldn't; should not = shouldn't; have not = haven't; it is = it's; they are = they're; we will = we'll; I am = I'm"),
    ),
    Kind(
        "young animal",
        (("What is a young {0} called?", ""), ("Name the young of the animal.", "{0}"), ("How do you call the baby of a {0}?", ""),
         ("Give the word for the young animal.", "{0}"), ("Tell me the name of a {0}'s young.", "")),
        "A young {0} is called a {1}.",
        _facts("cat = kitten; dog = puppy; cow = calf; sheep = lamb; horse = foal; goose = gosling; duck = duckling; pig = piglet; goat = kid; lion = cub; "
               "swan = cygnet; hen = chick; kangaroo = joey; deer = fawn; frog = tadpole; hare = leveret"),
    ),
    Kind(
        "category",
        (("To which category does '{0}' belong?", ""), ("Name the category of the word.", "{0}"), ("What kind of thing is '{0}'?", ""),
         ("Classify the word.", "{0}"), ("Sort '{0}' into a category.", "")),
        "'{0}' belongs to the category {1}.",
        _facts("robin = birds; eagle = birds; sparrow = birds; salmon = fish; trout = fish; herring = fish; oak = trees; birch = trees; willow = trees; "
               "violin = instruments; trumpet = instruments; flute = instruments; apple = fruit; pear = fruit; plum = fruit; hammer = tools; saw = tools; "
               "pliers = tools; rose = flowers; tulip = flowers"),
    ),
    Kind(
        "unit conversion",
        (("Convert {0} {1} to {3}.", ""), ("Convert the quantity to {3}.", "{0} {1}"), ("How many {3} are {0} {1}?", ""), ("Express {0} {1} in {3}.", "")),
        "{0} {1} is {2} {3}.",
        tuple((str(n), large, str(n * factor), small) for large, small, factor in _UNITS for n in (2, 3, 4, 5, 6)),
    ),
)  # fmt: skip

PASSIVE_ASKS: tuple[Ask, ...] = (
    ("Rewrite the sentence in the passive voice.", "{0}"),
    ("Change the sentence from active to passive voice.", "{0}"),
    ("Convert the active sentence to passive: '{0}'", ""),
    ("Put this sentence into the passive.", "{0}"),
)
ACTIVE_ASKS: tuple[Ask, ...] = (
    ("Rewrite the sentence in the active voice.", "{0}"),
    ("Change the sentence from passive to active voice.", "{0}"),
    ("Convert the passive sentence to active: '{0}'", ""),
    ("Put this sentence into the active.", "{0}"),
)
DOERS = words.word_list("""
artist baker boy child cook dentist doctor driver farmer gardener girl guest king nurse painter pilot queen sailor
student teacher thief tourist waiter writer
""")
DEEDS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("opened", ("door", "window", "box", "letter")),
    ("cleaned", ("room", "table", "car", "kitchen")),
    ("painted", ("wall", "picture", "fence", "house")),
    ("repaired", ("clock", "bridge", "roof", "car")),
    ("carried", ("bag", "chair", "basket", "lamp")),
    ("cooked", ("soup", "meal", "rice", "fish")),
    ("found", ("key", "ring", "map", "coin")),
    ("bought", ("book", "hat", "horse", "coat")),
    ("sold", ("house", "boat", "picture", "watch")),
    ("washed", ("plate", "shirt", "window", "dog")),
)

SENTENCE_ASKS: tuple[Ask, ...] = (
    ("What type of sentence is this?", "{0}"),
    ("Identify the type of the sentence.", "{0}"),
    ("Is the sentence declarative, interrogative, imperative or exclamatory?", "{0}"),
    ("Classify the sentence: '{0}'", ""),
)
SENTENCES: dict[str, tuple[str, ...]] = {
    "declarative": ("The {0} {1} the {2}.", "Every day the {0} works hard.", "My {2} is old."),
    "interrogative": ("Who {1} the {2}?", "Where is the {0}?", "Has the {0} seen the {2}?"),
    "imperative": ("Please bring me the {2}.", "Ask the {0} for help.", "Do not touch the {2}."),
    "exclamatory": ("What a beautiful {2}!", "How tired the {0} is!", "The {0} {1} the {2}, hurrah!"),
}
