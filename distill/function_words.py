"""The words by which languages in Latin letters are told apart.

Function words, and the verbs and nouns in which problems are set and solved, for seven languages:
a sentence of ten words holds four or five of its own language's and hardly one of another's.
Nothing here is a dictionary; a word stands in as many lists as languages use it.
"""

from typing import Final


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


WORDS: Final = {
    "en": _words(
        "the of and to in is are was were be been being that this these those it its we us our"
        " you your my he she they them their his her for with from by at on as an or but not no"
        " if then else so because since when while where which who what how why there here have"
        " has had do does did can could will would should must may might let lets need also now"
        " only just very more most less than each every all any some both either neither same"
        " such other another into over under between after before first next again still too"
        " about up out down many much find compute solve evaluate calculate determine prove show"
        " given wait therefore thus hence get gives means don doesn isn answer number numbers"
        " sum total equation side value values case cases solution result theorem equal equals"
        " two three ways check second right left base length becomes divide divisible holds"
        " claim true false follows"
    ),
    "de": _words(
        "der die das den dem des ein eine einen einem einer eines und oder aber nicht kein"
        " keine ist sind war waren sein wird werden wurde hat haben hatte ich du er sie es wir"
        " ihr uns mich mir dich man dies diese dieser dieses diesem jede jeder jedes alle auch"
        " noch nur schon sehr mehr als wie was wer wo wann warum wenn dann weil dass denn also"
        " so da hier dort nun jetzt mit ohne von vom zu zum zur bei aus auf in im an am für über"
        " unter nach vor durch gegen bis um seit zwischen kann können muss müssen soll sollte"
        " darf gilt gibt wäre sei daher deshalb damit somit zuerst zunächst wieder falsch"
        " richtig lass lassen berechne bestimme löse finde zeige beweise wieviele viele erhalten"
        " ergibt moment stimmt antwort zahl zahlen summe insgesamt gleichung seite wert fall"
        " fälle lösung ergebnis länge satz zwei drei folgt genau passt probe prüfen setzen erste"
        " ersten zweite zweiten teilbar linke rechte wahr falls solche bleiben"
    ),
    "fr": _words(
        "le la les un une des du de et ou mais ne pas non est sont était être sera ont avait"
        " avoir je tu il elle on nous vous ils elles se me moi son sa ses leur leurs ce cet"
        " cette ces qui que qu quoi dont où quand comment pourquoi si alors donc car parce"
        " puisque avec sans pour par sur sous dans en entre vers chez depuis avant après aussi"
        " encore plus moins très bien tout tous toute toutes chaque même autre autres peut peux"
        " doit faut fait faire soit ainsi maintenant ici là voyons calculer calculez calculons"
        " trouver trouvez trouvons résoudre résolvez montrer montrez déterminer déterminez"
        " combien quel quelle quels quelles obtient obtenons vérifions faux vrai attends"
        " attendez réponse nombre nombres somme équation membre valeur cas solution résultat"
        " théorème longueur deux trois façons égal égale premier première second divise"
        " vérification conséquent intervalle fonction choisir reste aucune mesure vaut selon"
        " écrivons devons cela"
    ),
    "es": _words(
        "el la los las lo un una unos unas de del pero no sí es son era eran ser está están"
        " estar fue será ha han había haber hay yo tú él ella nosotros ellos ellas me te se nos"
        " le les su sus mi tu este esta esto estos estas ese esa eso esos esas aquel que qué"
        " quien cual cuál cuáles cuando cuándo donde dónde como cómo porque por para con sin"
        " sobre entre hasta desde en al si entonces así también ya más menos muy todo todos toda"
        " todas cada otro otra otros otras mismo misma puede pueden podemos debe debemos tenemos"
        " tiene vamos veamos sea ahora aquí luego calcula calcule calcular halla hallar"
        " encuentra encuentre encontrar resuelve resolver determina demuestra cuántos cuántas"
        " cuánto cuánta obtenemos espera falso cierto respuesta número números suma ecuación"
        " lado valor caso casos solución resultado teorema longitud dos tres formas igual"
        " primero primera segundo segunda divide comprobación función intervalo elegir quedan"
        " ninguna mide según ningún ninguno comprobar"
    ),
    "it": _words(
        "il lo la gli le un una uno di del dello della dei degli delle ed ma non sono era"
        " essere sarà ha hanno aveva avere io tu lui lei noi voi loro mi ti si ci vi suo sua"
        " questo questa questi queste quello quella che chi cui quale quando dove come perché"
        " per con senza su sul sulla tra fra da dal dalla in nel nella nei nelle al alla ai alle"
        " se allora quindi dunque così anche già più meno molto tutto tutti tutta tutte ogni"
        " altro altra altri può possiamo deve dobbiamo abbiamo adesso ora qui poi calcola"
        " calcolare trova trovare risolvi risolvere determina dimostra quanti quante quanto"
        " otteniamo vediamo risposta numero numeri somma equazione lato valore caso casi"
        " soluzione risultato teorema due tre modi uguale primo prima secondo divide verifica"
    ),
    "pt": _words(
        "os as um uma uns umas de do da dos das ou mas não sim são era eram ser está estão foi"
        " será há tem têm temos eu tu ele ela nós eles elas me te se nos lhe seu sua seus suas"
        " meu minha este esta isto estes estas esse essa isso aquele que quem qual quais quando"
        " onde como porque por para pelo pela com sem sobre entre até desde em no na nas ao aos"
        " às então assim também já mais menos muito todo todos toda todas cada outro outra"
        " outros outras mesmo pode podemos deve devemos vamos agora aqui depois calcule calcular"
        " encontre encontrar resolva resolver determine prove quantos quantas quanto obtemos"
        " resposta número números soma equação lado valor caso casos solução resultado teorema"
        " dois três formas igual primeiro primeira segundo divide portanto"
    ),
    "nl": _words(
        "de het een en of maar niet geen is zijn was waren wordt worden werd heeft hebben had"
        " ik je jij hij zij ze we wij jullie hun hen ons mijn deze dit die dat welke wie wat"
        " waar wanneer hoe waarom als dan omdat want dus ook nog alleen al zeer heel meer minder"
        " te van voor met zonder op in aan bij uit naar over onder tussen door tegen tot om"
        " sinds kan kunnen moet moeten zal zullen mag er daar hier nu eerst weer elke elk alle"
        " ieder andere bereken bepaal los vind hoeveel toon bewijs krijgen geldt antwoord getal"
        " getallen som vergelijking kant waarde geval oplossing resultaat stelling twee drie"
        " manieren gelijk eerste tweede volgt"
    ),
}

NAMES: Final = {
    "en": "English",
    "de": "German",
    "fr": "French",
    "es": "Spanish",
    "it": "Italian",
    "pt": "Portuguese",
    "nl": "Dutch",
    "zh": "Chinese",
    "ja": "Japanese",
    "ko": "Korean",
    "ru": "Russian",
    "ar": "Arabic",
    "he": "Hebrew",
    "hi": "Hindi",
    "th": "Thai",
}

AMBIGUOUS: Final = _words(
    "am was hat war man men also mit des den dem art sin son fin car plus sur par pour est il es"
    " max per sum via con sea pie once dos os um em met want door dan er te ze al die tot bis du un"
    " ha en et se ma ni mi ti tu me fra da no los las ai ed main ion tout come real mag tan uns hen"
    " her hun dies sei so cas solution divide caso probe satz total base som case even chi ci non"
    " tra si"
)
"""Words that are common in English, in maths or in names: weak evidence for another language."""

CODE_WORDS: Final = _words(
    "if not in is for and or while with as from else do then this let by to each next where any all"
)
"""English words that programs are written in: weak evidence of English."""

PARTICLES: Final = _words(
    "de la le les los las el del der den des di da do dos das du van von vom zu zum zur il lo ter"
    " of the and und et op aan ben al"
)
"""Words that stand in names and titles (``Charles de la Vallée Poussin``): weak evidence."""

NUMERALS: Final = _words(
    "two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen"
    " seventeen eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety hundred"
    " thousand million zwei drei vier fünf sechs sieben acht neun zehn elf zwölf zwanzig dreißig"
    " hundert tausend deux trois quatre cinq sept huit neuf dix onze douze vingt trente cent mille"
    " dos tres cuatro cinco seis siete ocho nueve diez once doce veinte treinta cien mil"
)
"""Numbers written as words, from two up."""
